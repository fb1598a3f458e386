"""What a forked child finds: without C_Initialize, and after its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Final

from lab.native.cryptoki import AttributeValue
from lab.probe.stage.bench import Bench
from lab.probe.stage.module import CKA_CLASS, CKA_LABEL, CKA_PRIVATE, CKA_TOKEN, CKA_VALUE, CKO_DATA
from lab.probe.stage.parent import look_after

_SESSIONS: Final = 5
"""Of the parent: a child that opened as many would have handles of the same numbers."""
_OBJECT: Final = "lab-session-object"
_RANDOM_BYTES: Final = 32


def _sign(bench: Bench) -> None:
    if bench.key:
        bench.sign()


def _digest(bench: Bench) -> None:
    if bench.call("C_DigestInit", partial(bench.module.digest_init, bench.session)) is not None:
        bench.call("C_Digest", partial(bench.module.digest, bench.session, b"lab"))


CLASSES: Final[Mapping[str, Callable[[Bench], object]]] = {
    "general": lambda b: b.call("C_GetInfo", b.module.module_info),
    "slots": lambda b: b.call("C_GetSlotList", b.module.slots),
    "token": lambda b: b.call("C_GetTokenInfo", partial(b.module.token_info, b.slot)),
    "open": lambda b: b.call("C_OpenSession", partial(b.module.open_session, b.slot)),
    "session": lambda b: b.call("C_GetSessionInfo", partial(b.module.session_info, b.session)),
    "login": lambda b: b.call("C_Login", partial(b.module.login, b.session, b.order.pin)),
    "objects": lambda b: b.call("C_FindObjectsInit", partial(b.module.find_objects, b.session, {}, 1)),
    "random": lambda b: b.call("C_GenerateRandom", partial(b.module.random, b.session, _RANDOM_BYTES)),
    "digest": _digest,
    "sign": _sign,
    "close": lambda b: b.call("C_CloseSession", partial(b.module.close_session, b.session)),
    "finalize": lambda b: b.call("C_Finalize", b.module.finalize),
}
"""Classes of calls: what a child does with its parent's handles, without a C_Initialize of its own."""


def calls_without_initialize(bench: Bench) -> None:
    """Each class in a child and under a parent of its own, which is looked after afterwards."""

    def one(does: Callable[[Bench], object]) -> None:
        if bench.make_ready():
            bench.in_child("child", partial(does, bench))
            look_after(bench, [bench.session])

    for name, does in CLASSES.items():
        bench.act(name, partial(one, does))


def child_initialize(bench: Bench) -> None:
    """A child of a logged-in parent with sessions and a session object calls C_Initialize and looks around."""
    if not bench.make_ready():
        return
    bench.call("C_GetInfo", bench.module.module_info, describe=asdict)
    sessions = [bench.session]
    for _ in range(_SESSIONS - 1):
        more = bench.call("C_OpenSession", lambda: bench.module.open_session(bench.slot))
        sessions += [more] if more is not None else []
    if bench.order.may_create:
        _create_object(bench)
    bench.in_child("child", partial(_look_around, bench))
    bench.in_child("child with old handles", partial(_use_old_handles, bench, sessions[-1]))


def _create_object(bench: Bench) -> None:
    """A session object, which any session may create; some modules want one that may write."""
    module = bench.module
    wanted: dict[int, AttributeValue] = {CKA_CLASS: CKO_DATA, CKA_TOKEN: False, CKA_PRIVATE: False}
    wanted |= {CKA_LABEL: _OBJECT, CKA_VALUE: b"lab"}
    if bench.call("C_CreateObject", lambda: module.create_object(bench.session, wanted)) is None:
        writing = bench.call("C_OpenSession", lambda: module.open_session(bench.slot, read_write=True))
        if writing is not None:
            bench.call("C_CreateObject", lambda: module.create_object(writing, wanted))


def _use_old_handles(bench: Bench, old: int) -> None:
    """Before it opens any session: afterwards equal numbers would prove nothing."""
    bench.call("C_Initialize", bench.initialize)
    bench.call("C_GetSessionInfo", partial(bench.module.session_info, old))
    if bench.key:
        bench.sign(session=old)


def _look_around(bench: Bench) -> None:
    module = bench.module
    bench.call("C_Initialize", bench.initialize)
    if not bench.find_token():
        return
    session = bench.call("C_OpenSession", lambda: module.open_session(bench.slot))
    if session is None:
        return
    bench.session = session
    bench.call(
        "C_GetSessionInfo", partial(module.session_info, session), describe=lambda info: {"logged_in": info.logged_in}
    )
    wanted: dict[int, AttributeValue] = {CKA_CLASS: CKO_DATA, CKA_LABEL: _OBJECT}
    bench.call(
        "C_FindObjects",
        partial(module.find_objects, session, wanted, 1),
        describe=lambda found: {"session_objects_of_the_parent": len(found)},
    )
    bench.call("C_Login", partial(module.login, session, bench.order.pin))


STAGES: Final = {"calls-without-initialize": calls_without_initialize, "child-initialize": child_initialize}
