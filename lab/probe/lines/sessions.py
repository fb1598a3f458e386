"""Judges of sessions: how many, what is said when there are no more, whether they are counted, closed and released."""

from __future__ import annotations

from typing import Final

from lab.probe.line import Judgement, Line
from lab.probe.lines.answers import NO_ROOM, OK, sentence
from lab.probe.lines.endings import badly_ended, how_they_ended, not_ready
from lab.probe.seen import Call, Seen
from lab.record.names import ckr_name

_SESSION_CLOSED: Final = 0xB0
_SESSION_COUNT: Final = 0xB1
_SESSION_HANDLE_INVALID: Final = 0xB3


def session_limit(seen: Seen) -> Judgement:
    """CKR_SESSION_COUNT where one is refused."""
    opening = _opening(seen, again=False)
    if opening is None:
        return not_ready(seen, "process")
    count = seen.facts.get("process has sessions", 0)
    if opening.ckr is None:
        return Judgement("violates", f"{_ended(seen)}")
    if opening.ckr == OK:
        return Judgement("not-exercised", f"{count} sessions were opened and none refused; more were not tried.")
    told = f"After {count} sessions C_OpenSession answered {ckr_name(opening.ckr)}."
    if opening.ckr == _SESSION_COUNT:
        return Judgement("conforms", told)
    return Judgement("undefined" if opening.ckr in NO_ROOM else "violates", told)


def claimed_limit(seen: Seen) -> Judgement:
    """No more than ulMaxSessionCount says."""
    opening, most = _opening(seen, again=False), _claimed(seen)
    if opening is None or opening.ckr is None:
        return not_ready(seen, "process")
    count, refused = seen.facts.get("process has sessions", 0), opening.ckr != OK
    opened = f"{count} sessions were opened{', and the next one refused' if refused else ', and none refused'}"
    if most is None:
        return Judgement("undefined" if refused else "conforms", f"ulMaxSessionCount tells no limit; {opened}.")
    if count > most:
        return Judgement("violates", f"ulMaxSessionCount says {most}; {opened}.")
    if refused and count < most:  # a maximum, and no promise: others may have the rest
        return Judgement("undefined", f"ulMaxSessionCount says {most}; {opened} ({ckr_name(opening.ckr)}).")
    if refused:
        return Judgement("conforms", f"ulMaxSessionCount says {most}; {opened}.")
    return Judgement("not-exercised", f"ulMaxSessionCount says {most}; {opened}; more were not tried.")


def session_count(seen: Seen) -> Judgement:
    """ulSessionCount, each time it was asked."""
    asked = [call for call in seen.of("process", "C_GetTokenInfo") if call.ckr == OK]
    if len(asked) < 2:
        return not_ready(seen, "process")
    if all(call.facts.get("sessions") is None for call in asked):
        return Judgement("not-exercised", "ulSessionCount is CK_UNAVAILABLE_INFORMATION: the module does not tell.")
    told = ", ".join(f"{call.facts.get('sessions')} with {call.facts['open']} open" for call in asked)
    right = all(call.facts.get("sessions") == call.facts["open"] for call in asked)
    return Judgement("conforms" if right else "violates", f"ulSessionCount: {told}.")


def close_all(seen: Seen) -> Judgement:
    """The old handle is refused, and as many sessions can be had again."""
    closed = seen.answer("process", "C_CloseAllSessions")
    if not seen.of("process", "C_CloseAllSessions"):
        return not_ready(seen, "process")
    if closed is None:
        return Judgement("violates", _ended(seen))
    if closed != OK:
        return Judgement("violates", f"C_CloseAllSessions answered {ckr_name(closed)}.")
    old, opening = seen.answer("process", "C_GetSessionInfo"), _opening(seen, again=True)
    if old is None or opening is None or opening.ckr is None:
        return Judgement("violates", _ended(seen)) if badly_ended(seen, "process") else not_ready(seen, "process")
    first, again = seen.facts.get("process has sessions", 0), seen.facts.get("process has again", 0)
    told = f"C_GetSessionInfo on a closed session answered {ckr_name(old)}; {again} of {first} could be opened again."
    enough = again == first or (opening.ckr == OK and again > 0)  # fewer without a refusal: it took too long
    right = old in (_SESSION_HANDLE_INVALID, _SESSION_CLOSED) and enough
    return Judgement("conforms" if right else "violates", told)


def after_death(seen: Seen) -> Judgement:
    """A new application has what its predecessor, which was killed, had."""
    held = seen.facts.get("holder has sessions", 0)
    if not held:
        return not_ready(seen, "holder", "C_OpenSession")
    if ends := badly_ended(seen, "successor"):
        return Judgement("violates", f"A process with {held} sessions was killed; then {how_they_ended(seen, ends)}.")
    if "successor has sessions" not in seen.facts:
        refused = next((c for c in seen.calls if c.who == "successor" and c.ckr not in (None, OK)), None)
        if refused is None:
            return not_ready(seen, "successor")
        why = f"{refused.name} answered {ckr_name(refused.ckr or 0)}"
        return Judgement("violates", f"A process with {held} sessions was killed; the next one did not get in: {why}.")
    opened = seen.facts["successor has sessions"]
    info = next((call for call in seen.of("successor", "C_GetTokenInfo") if call.ckr == OK), None)
    counted = info.facts.get("sessions") if info is not None else None
    told = f"A process with {held} sessions was killed; the next one could open {opened}."
    if counted is not None:
        told += f" Before it had opened any, ulSessionCount said {counted}."
    slow = bool(seen.facts.get("successor was slow"))
    if slow:
        told += " There was no time for more."
    if counted:
        return Judgement("violates", told)
    if opened >= held or slow:
        return Judgement("conforms", told)
    return Judgement("undefined", f"{told} When they are given back is left open; it was waited for 1 s.")


def _opening(seen: Seen, again: bool) -> Call | None:
    return next((c for c in seen.of("process", "C_OpenSession") if c.facts.get("again", False) == again), None)


def _claimed(seen: Seen) -> int | None:
    most = [call.facts.get("most") for call in seen.of("process", "C_GetTokenInfo") if call.ckr == OK]
    return most[0] if most else None


def _ended(seen: Seen) -> str:
    ends = badly_ended(seen, "process")
    return f"{sentence(how_they_ended(seen, ends))}." if ends else "A call did not return."


_INFO: Final = "PKCS #11 v2.40 base, 3.2 (CK_TOKEN_INFO)"

LINES: Final = (
    Line(
        "session-limit",
        "sessions",
        "sessions until the limit",
        "An attempt to open a session where there are too many should return CKR_SESSION_COUNT.",
        "PKCS #11 v2.40 base, 5.6 (C_OpenSession)",
        "session-limit",
        session_limit,
    ),
    Line(
        "session-limit-claimed",
        "sessions",
        "sessions against ulMaxSessionCount",
        "ulMaxSessionCount is the maximum of sessions that one application can have open with the token.",
        _INFO,
        "session-limit",
        claimed_limit,
    ),
    Line(
        "session-count",
        "sessions",
        "ulSessionCount",
        "ulSessionCount is the number of sessions that this application has open with the token.",
        _INFO,
        "session-limit",
        session_count,
    ),
    Line(
        "close-all-sessions",
        "sessions",
        "C_CloseAllSessions, and sessions again",
        "It closes all of the application's sessions with the token; their handles become invalid.",
        "PKCS #11 v2.40 base, 5.6 (C_CloseAllSessions)",
        "session-limit",
        close_all,
    ),
    Line(
        "sessions-after-death",
        "sessions",
        "sessions of a process that was killed",
        "Limit and count are those of one application; what another one had that is dead takes nothing from it.",
        _INFO,
        "sessions-after-death",
        after_death,
    ),
)
