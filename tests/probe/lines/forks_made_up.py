"""Made-up sights of forks: calls, ends and signatures as a stage would have seen them."""

from __future__ import annotations

from typing import Any

from lab.probe.seen import Call, End, Output, Seen

NOT_INITIALIZED, ALREADY_INITIALIZED, LOGGED_IN, INVALID, DEVICE_ERROR = 0x190, 0x191, 0x100, 0xB3, 0x30
P256_BYTES = 64

Made = tuple[Any, ...]
"""who, function, CKR code or None, and facts where there are any."""


def seen(*made: Made, ends: tuple[End, ...] = (), outputs: tuple[Output, ...] = (), **facts: Any) -> Seen:
    pids = {who: 100 + number for number, who in enumerate(dict.fromkeys(one[0] for one in made))}
    calls = tuple(Call(one[0], pids[one[0]], one[1], one[2], one[3] if len(one) > 3 else {}) for one in made)
    own = tuple(End(end.who, pids.get(end.who, 1), end.how, end.status) for end in ends)
    return Seen(calls, own, facts, outputs)


def signature(who: str, nonce: int, data: bytes, right: bool = True) -> Output:
    return Output(who, bytes([nonce]) * (P256_BYTES // 2) + data.ljust(P256_BYTES // 2, b"s"), data, right)


def looked_after(scene: str, ckr: int | None = 0, logged_in: bool = True) -> tuple[Made, ...]:
    after = f"parent after ({scene})"
    return (after, "C_GetSessionInfo", 0, {"logged_in": logged_in}), (after, "C_SignInit", ckr)


CHILD = ("child", "C_Initialize", 0)
OLD = ("child with old handles", "C_Initialize", 0)
STATE = ("child", "C_GetSessionInfo", 0, {"logged_in": False})
CRASH, HANG = End("child", 1, "signal", 11), End("child", 1, "hang")
WORKED: tuple[Made, ...] = (("child (beside)", "C_Initialize", 0), ("child (beside)", "C_Sign", 0))
SIGNS = ("parent (beside)", "C_Sign", 0, {"times": 9})
GRAND = "grandchild (child has initialised)"
GRAND_WORKED: tuple[Made, ...] = ((GRAND, "C_Initialize", 0), (GRAND, "C_Sign", 0))
IN_BOTH: tuple[Made, ...] = (("child", "C_Sign", 0), ("parent after", "C_Sign", 0))
THREAD = ("thread 0", "C_Sign", 0, {"times": 50})
BUSY_CHILD = ("child 0", "C_Sign", 0)
BUSY_SIGNED = signature("child 0", 1, b"a")
SOCKET = {"kind": "socket", "target": "socket:[7]", "inode": 7, "close_on_exec": True}
