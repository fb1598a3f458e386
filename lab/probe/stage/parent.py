"""What a child does to its parent, and what both do side by side."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from lab.probe.stage.bench import Bench

_SESSIONS: Final = 3
_SIGNATURES: Final = 5
_BUSY: Final = 3
"""Signatures that a thread has made when its process is killed in the midst of the next."""


def look_after(bench: Bench, sessions: list[int]) -> None:
    """Whether the parent's sessions are there and logged in, and whether its key signs. As `parent after`."""
    bench.who = f"parent after{bench.scene}"
    for session in sessions:
        bench.call(
            "C_GetSessionInfo",
            partial(bench.module.session_info, session),
            describe=lambda info: {"logged_in": info.logged_in},
        )
    if bench.key:
        bench.sign()


def _exit(bench: Bench) -> None:
    """exit(3): with the exit handlers and destructors of the C libraries, the module's among them."""
    ctypes.CDLL(None).exit(0)


def _work_and_exit(bench: Bench) -> None:
    _work(bench)
    _exit(bench)


def _work(bench: Bench) -> None:
    if bench.make_ready() and bench.key:
        for _ in range(_SIGNATURES):
            bench.sign()


def _finalize(bench: Bench) -> None:
    bench.call("C_Finalize", bench.module.finalize)


def _initialize_and_finalize(bench: Bench) -> None:
    bench.call("C_Initialize", bench.initialize)
    _finalize(bench)


def _killed(number: int, own: bool, bench: Bench) -> None:
    """Dies while a thread of it signs; with handles of its own or with its parent's."""
    if own and not bench.make_ready():
        return
    if bench.key:
        enough = threading.Event()

        def going(times: int) -> bool:
            if times == _BUSY:
                enough.set()
            return True

        threading.Thread(target=bench.keep_signing, args=(going,), daemon=True).start()
        enough.wait(bench.order.patience_s)
    os.kill(os.getpid(), number)
    signal.pause()


ENDS: Final[Mapping[str, Callable[[Bench], object]]] = {
    "finalize": _finalize,
    "initialize, finalize": _initialize_and_finalize,
    "_exit": lambda bench: os._exit(0),
    "exit": _exit,
    "work, exit": _work_and_exit,
    "SIGKILL": partial(_killed, signal.SIGKILL, True),
    "SIGSEGV": partial(_killed, signal.SIGSEGV, True),
    "SIGKILL with old handles": partial(_killed, signal.SIGKILL, False),
}
"""Ways in which a child ends, each under a parent of its own."""


def child_ends(bench: Bench) -> None:
    """The parent has several sessions and is logged in; a child ends; the parent is looked after."""

    def one(way: Callable[[Bench], object]) -> None:
        if not bench.make_ready():
            return
        sessions = [bench.session]
        for _ in range(_SESSIONS - 1):
            more = bench.call("C_OpenSession", lambda: bench.module.open_session(bench.slot))
            sessions += [more] if more is not None else []
        bench.in_child("child", partial(way, bench))
        look_after(bench, sessions)

    for name, way in ENDS.items():
        bench.act(name, partial(one, way))


def child_works(bench: Bench) -> None:
    """A child works in a context of its own while its parent signs on; another reloads what it inherited."""
    bench.act("beside", partial(_beside, bench))
    bench.act("reload", partial(_reload, bench))


def _beside(bench: Bench) -> None:
    if not bench.make_ready():
        return
    child = bench.fork("child", partial(_work, bench))
    bench.keep_signing(lambda times: times < 1 or not select.select([child.handle], [], [], 0)[0], bench.patience_s)
    child.wait()
    look_after(bench, [bench.session])


def _reload(bench: Bench) -> None:
    def reload() -> None:
        _finalize(bench)
        _work(bench)

    if bench.make_ready():
        bench.in_child("child", reload)
        look_after(bench, [bench.session])


def grandchildren(bench: Bench) -> None:
    """A child that has not, and one that has initialised, forks: the grandchild makes a context of its own."""

    def child(initialised: bool) -> None:
        if initialised:
            _work(bench)
        bench.in_child("grandchild", partial(_work, bench))
        if initialised and bench.key:
            bench.who = f"child after{bench.scene}"
            bench.sign()

    def one(initialised: bool) -> None:
        if bench.make_ready():
            bench.fork("child", partial(child, initialised)).wait(patience=2)
            look_after(bench, [bench.session])

    bench.act("child has not initialised", partial(one, False))
    bench.act("child has initialised", partial(one, True))


STAGES: Final = {"child-ends": child_ends, "child-works": child_works, "grandchildren": grandchildren}
