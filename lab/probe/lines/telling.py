"""Words that judges share: how often which answer was given, and how processes ended that did not end well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from lab.probe.line import Judgement
from lab.probe.seen import End, Seen
from lab.record.names import ckr_name

OK: Final = 0
NO_ROOM: Final = frozenset({0x2, 0x31, 0xB1, 0x201})
"""CKR_HOST_MEMORY, CKR_DEVICE_MEMORY, CKR_SESSION_COUNT, CKR_TOKEN_RESOURCE_EXCEEDED: there may be too little of it."""
_OURS: Final = 70
"""Exit status of a process that the lab's own code failed (EX_SOFTWARE): nothing of the module's."""


def counted(answers: Iterable[int | None]) -> str:
    """`CKR_OK (1), CKR_USER_ALREADY_LOGGED_IN (7)`, in the order in which they first came."""
    names = Counter("no answer" if answer is None else ckr_name(answer) for answer in answers)
    return ", ".join(f"{name} ({times})" for name, times in names.items())


def tallies(seen: Seen) -> Counter[str]:
    """Over all threads' loops: how often each function gave which answer, by `C_Sign CKR_OK`."""
    total: Counter[str] = Counter()
    for name, value in seen.facts.items():
        if name.startswith("answers of "):
            total.update(value)
    return total


def listed(tally: Counter[str]) -> str:
    return ", ".join(f"{name} ({times})" for name, times in tally.items())


def sentence(text: str) -> str:
    """With a large first letter; the others stay."""
    return text[:1].upper() + text[1:]


def badly_ended(seen: Seen, kind: str) -> list[End]:
    """Processes whose name begins so, and that crashed, hung, or ended in the midst of a call."""
    within = {call.pid for call in seen.calls if call.ckr is None}
    return [
        end
        for end in seen.ends
        if end.who.startswith(kind) and (end.how != "exit" or (end.pid in within and end.status != _OURS))
    ]


def how_they_ended(seen: Seen, ends: Iterable[End]) -> str:
    """`process 3 died of SIGSEGV in C_Login; process 4 hung in C_Initialize`."""
    told = []
    for end in ends:
        unanswered = list(dict.fromkeys(call.name for call in seen.calls if call.pid == end.pid and call.ckr is None))
        told.append(f"{end.who} {end.words}{' in ' + ' and '.join(unanswered) if unanswered else ''}")
    return "; ".join(told)


def not_ready(seen: Seen, who: str, *but: str) -> Judgement:
    """Of a process that did not get as far as the line's own calls: the first call that was refused, and how it ended.

    but: calls whose refusal is no obstacle.
    """
    refused = next((c for c in seen.calls if c.who == who and c.name not in but and c.ckr not in (None, OK)), None)
    if refused is not None:
        return Judgement("not-exercised", f"{sentence(who)}: {refused.name} answered {ckr_name(refused.ckr or 0)}.")
    ends = [end for end in seen.ends if end.who == who and not end.orderly]
    if ends:
        return Judgement("not-exercised", f"It was not reached: {how_they_ended(seen, ends)}.")
    if seen.cut_off:
        return Judgement("not-exercised", f"It was not reached: the stage {seen.cut_off}.")
    return Judgement("not-exercised", "It was not reached.")
