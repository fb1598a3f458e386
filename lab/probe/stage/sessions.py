"""Sessions until the token has no more, what it counts meanwhile, and what becomes of them when a process dies."""

from __future__ import annotations

import os
import select
import signal
import time
from functools import partial
from typing import Final

from lab.native.cryptoki import TokenInfo
from lab.probe.stage.bench import Bench

_RELEASED_WITHIN_S: Final = 1.0
"""In which a daemon may notice that its client is dead."""
_ASK_AGAIN_S: Final = 0.05


def session_limit(bench: Bench) -> None:
    """Opens sessions until one is refused or the order's most are there; closes all; opens as many again."""

    def does() -> None:
        module = bench.module
        if bench.answer("C_Initialize", bench.initialize) or not bench.find_token():
            return
        _count(bench, 0)
        opened = _open(bench, bench.order.most_sessions)
        if not opened:
            return
        _count(bench, len(opened))
        bench.answer("C_CloseSession", partial(module.close_session, opened[-1]))
        _count(bench, len(opened) - 1)
        bench.answer("C_CloseAllSessions", partial(module.close_all_sessions, bench.slot))
        _count(bench, 0)
        bench.answer("C_GetSessionInfo", partial(module.session_info, opened[0]))
        _open(bench, len(opened), again=True)
        bench.answer("C_Finalize", module.finalize)

    bench.fork("process", does).wait(time.monotonic() + 2 * bench.order.patience_s)


def sessions_after_death(bench: Bench) -> None:
    """A process with sessions is killed; another one, that maps the module for itself, opens as many."""
    reader, writer = os.pipe()

    def hold() -> None:
        if not bench.answer("C_Initialize", bench.initialize) and bench.find_token():
            os.write(writer, b"%d" % len(_open(bench, bench.order.most_sessions)))
            signal.pause()  # until it is killed

    def succeed(held: int) -> None:
        if bench.answer("C_Initialize", bench.initialize) or not bench.find_token():
            return
        _count(bench, 0)
        until_s = time.monotonic() + _RELEASED_WITHIN_S
        while len(opened := _open(bench, held)) < held and time.monotonic() < until_s:
            # a daemon may need a moment to notice that its client is dead
            for session in opened:
                bench.module.close_session(session)
            time.sleep(_ASK_AGAIN_S)

    holder = bench.fork("holder", hold)
    os.close(writer)
    told = select.select([reader], [], [], 2 * bench.order.patience_s)[0]
    held = int((os.read(reader, 16) if told else b"") or 0)
    if held:
        holder.kill(signal.SIGKILL)
    holder.wait()
    if held:
        bench.fork("successor", partial(succeed, held)).wait(time.monotonic() + 2 * bench.order.patience_s)


def _open(bench: Bench, most: int, again: bool = False) -> list[int]:
    """At most so many sessions, announced as one call, with the answer to the last, and how many there are.

    Fewer where they take long, which is a fact, too: nobody waits for a thousand of a slow token.
    """
    opened: list[int] = []
    until_s = time.monotonic() + bench.order.patience_s / 2

    def one_after_the_other() -> None:
        try:
            while len(opened) < most:
                opened.append(bench.module.open_session(bench.slot))
                if time.monotonic() > until_s and len(opened) < most:
                    bench.fact(f"{bench.who} was slow", True)
                    break
        finally:
            bench.fact(f"{bench.who} has {'again' if again else 'sessions'}", len(opened))

    bench.call("C_OpenSession", one_after_the_other, most=most, again=again)
    return opened


def _count(bench: Bench, opened: int) -> None:
    """What the token says of sessions while this process has so many."""

    def describe(info: TokenInfo) -> dict[str, int | None]:
        return {"sessions": info.sessions, "most": info.max_sessions}

    bench.call("C_GetTokenInfo", partial(bench.module.token_info, bench.slot), describe=describe, open=opened)


STAGES: Final = {"session-limit": session_limit, "sessions-after-death": sessions_after_death}
