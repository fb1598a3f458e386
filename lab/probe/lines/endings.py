"""How processes ended, and whether they work, in words that judges share. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lab.probe.line import Judgement
from lab.probe.lines.answers import ALREADY_INITIALIZED, OK, USER_ALREADY_LOGGED_IN, answer, sentence
from lab.probe.seen import End, Seen, death
from lab.record.names import ckr_name

_OURS: Final = 70
"""Exit status of a process that the lab's own code failed (EX_SOFTWARE): nothing of the module's."""


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


def named(who: str, scene: str) -> str:
    """A process of a scene; of a stage without scenes, where `scene` is empty."""
    return f"{who} ({scene})" if scene else who


def harm(seen: Seen, scene: str = "") -> str | None:
    """What is wrong with the parent of a scene that was looked after: "" where nothing is, None where nobody looked."""
    parent, after = named("parent", scene), named("parent after", scene)
    looked = seen.of(after)
    if not looked:
        # Cut short before it could be looked after: only where its child had ended is the child to be suspected.
        return death(seen, parent) or None if seen.end(named("child", scene)) else None
    for call in looked:
        if call.ckr is None:
            return death(seen, parent) or f"{after}: {call.name} never returned"
        if call.ckr != OK:
            return f"{after}: {call.name} answered {answer(call)}"
        if call.facts.get("logged_in") is False:
            return f"{after}: it is no longer logged in"
    if any(output.right is False for output in seen.outputs if output.who == after):
        return f"{after}: its signature is wrong"
    return ""


def work(seen: Seen, who: str) -> str | None:
    """What went wrong with a process that makes a context of its own and signs: "" for nothing, None if it never began.

    CKR_CRYPTOKI_ALREADY_INITIALIZED and CKR_USER_ALREADY_LOGGED_IN are not counted: other lines judge these.
    """
    made = seen.of(who)
    if not made:
        return death(seen, who) or None
    for call in made:
        if call.ckr is None:
            return death(seen, who) or f"{who}: {call.name} never returned"
        if call.ckr not in (OK, ALREADY_INITIALIZED, USER_ALREADY_LOGGED_IN):
            return f"{who}: {call.name} answered {answer(call)}"
    signatures = [output for output in seen.outputs if output.who == who]
    if any(output.right is False for output in signatures):
        return f"{who}: its signature is wrong"
    if not signatures:
        return f"{who}: no signature came of it"
    return death(seen, who)
