"""What was seen, in words that judges share. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lab.probe.seen import Call, Seen, death
from lab.record.names import ckr_name

OK: Final = 0x0
USER_ALREADY_LOGGED_IN: Final = 0x100
NOT_INITIALIZED: Final = 0x190
ALREADY_INITIALIZED: Final = 0x191
_CKF_INTERFACE_FORK_SAFE: Final = 0x1


def answer(call: Call) -> str:
    """CKR_OK, or that it never returned; and the call in the midst of it that was refused, where it was another."""
    if call.ckr is None:
        return "never returned"
    inner = call.facts.get("in")
    return ckr_name(call.ckr) + (f" ({inner})" if inner else "")


def calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def listed(names: Iterable[str]) -> str:
    """a, b and c."""
    *most, last = list(names) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def named(who: str, scene: str) -> str:
    """A process of a scene; of a stage without scenes, where `scene` is empty."""
    return f"{who} ({scene})" if scene else who


def hands_on(claims: Seen) -> bool:
    """Whether the interface that was used claims CKF_INTERFACE_FORK_SAFE: a child has copies of sessions and login."""
    used = claims.facts.get("function list")
    asked = next((call for call in claims.of("process", "C_GetInterfaceList") if call.ckr == OK), None)
    return any(
        each["name"] == "PKCS 11" and each["version"] == used and each["flags"] & _CKF_INTERFACE_FORK_SAFE
        for each in (asked.facts.get("interfaces") or () if asked is not None else ())
    )


def told_before(seen: Seen, who: str) -> str:
    """What C_Initialize had answered to a process that went on without CKR_OK; "" where it was CKR_OK or not called."""
    ckr = seen.answer(who, "C_Initialize")
    return f"C_Initialize had answered {ckr_name(ckr)}" if ckr else ""


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
