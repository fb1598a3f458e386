"""Answers of calls, in words that judges share. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from lab.probe.seen import Call, Seen
from lab.record.names import ckr_name

OK: Final = 0x0
USER_ALREADY_LOGGED_IN: Final = 0x100
NOT_INITIALIZED: Final = 0x190
ALREADY_INITIALIZED: Final = 0x191
_CKF_INTERFACE_FORK_SAFE: Final = 0x1
NO_ROOM: Final = frozenset({0x2, 0x31, 0xB1, 0x201})
"""CKR_HOST_MEMORY, CKR_DEVICE_MEMORY, CKR_SESSION_COUNT, CKR_TOKEN_RESOURCE_EXCEEDED: there may be too little of it."""


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


def tallied(tally: Counter[str]) -> str:
    return ", ".join(f"{name} ({times})" for name, times in tally.items())


def sentence(text: str) -> str:
    """With a large first letter; the others stay."""
    return text[:1].upper() + text[1:]


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
