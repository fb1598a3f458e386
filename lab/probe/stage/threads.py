"""Threads of one process, and processes that have nothing in common, in one module at the same time.

Threads run in a process of their own, which maps the module for itself: what crashes or hangs there is seen by its
parent. A loop is one call in the report; how often each function gave which answer is a fact beside it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from lab.native.cryptoki import CryptokiError, Locking
from lab.probe.seen import PIN_REFUSED
from lab.probe.stage.bench import Bench
from lab.probe.stage.gate import Gate
from lab.probe.stage.randomness import BYTES, draw, say_family
from lab.record.names import ckr_name

THREADS: Final = 8
_WITHOUT_LOCKING: Final = 4
_PROCESSES: Final = 16
_PROCESSES_ELSEWHERE: Final = 4  # on a token that is somebody else's
_INITIALIZE_ROUNDS: Final = 25  # the race for it is narrow
_LOGIN_ROUNDS: Final = 10
_LOGIN_ROUNDS_ELSEWHERE: Final = 2
_TIMES: Final = 40
"""Of a loop, where there is time."""


def initialize_in_threads(bench: Bench) -> None:
    """All threads call C_Initialize at once; C_Finalize, and again. At last the process does so alone, too late."""

    def does() -> None:
        module, until_s = bench.module, _loop_until_s(bench)
        for number in range(1, _INITIALIZE_ROUNDS + 1):
            _together(THREADS, partial(_initialize, bench, number))
            if time.monotonic() > until_s or number == _INITIALIZE_ROUNDS:
                break
            bench.answer("C_Finalize", module.finalize)
        _finds_token(bench)
        bench.answer("C_Initialize", bench.initialize)

    _in_process(bench, does)


def _initialize(bench: Bench, number: int, who: str) -> None:
    bench.answer("C_Initialize", bench.initialize, who, round=number)


def login_in_threads(bench: Bench) -> None:
    """All threads call C_Login at once, with the right PIN, each in a session of its own; C_Logout, and again."""

    def does() -> None:
        module, until_s = bench.module, _loop_until_s(bench)
        if bench.answer("C_Initialize", bench.initialize) or not bench.find_token():
            return
        sessions = _sessions(bench, THREADS)
        rounds = _LOGIN_ROUNDS if bench.order.may_create else _LOGIN_ROUNDS_ELSEWHERE
        for number in range(1, rounds + 1):
            answers: list[int] = []
            _together(len(sessions), partial(_log_in, bench, sessions, number, answers))
            # a token that takes the right PIN for a wrong one may count tries, and lock
            if time.monotonic() > until_s or number == rounds or not PIN_REFUSED.isdisjoint(answers):
                break
            bench.answer("C_Logout", partial(module.logout, next(iter(sessions.values()))))

    _in_process(bench, does)


def _log_in(bench: Bench, sessions: Mapping[str, int], number: int, answers: list[int], who: str) -> None:
    made = partial(bench.module.login, sessions[who], bench.order.pin)
    answers.append(bench.answer("C_Login", made, who, round=number))


def threads_without_locking(bench: Bench) -> None:
    """C_Initialize with a NULL argument, and then threads, each with a session of its own."""
    _in_process(bench, partial(_sign_in_threads, bench, "none", _WITHOUT_LOCKING))


def threads_with_locking(bench: Bench) -> None:
    """C_Initialize with CKF_OS_LOCKING_OK, and then threads, each with a session of its own."""
    say_family(bench)
    _in_process(bench, partial(_sign_in_threads, bench, "os", THREADS))


def shared_session(bench: Bench) -> None:
    """Two threads sign in one session, each time at one instant."""

    def does() -> None:
        if bench.make_ready() and bench.key:
            pace = _Pace(2, _loop_until_s(bench))
            _together(2, lambda who: _loop(bench, who, bench.session, pace, draws=False))
            bench.answer("C_CloseSession", partial(bench.module.close_session, bench.session))

    _in_process(bench, does)


def many_processes(bench: Bench) -> None:
    """Processes that map the module for themselves initialise all at once, and then log in all at once.

    Then one does so alone: what it is refused, too, was no matter of a race.
    """
    most = _PROCESSES if bench.order.may_create else _PROCESSES_ELSEWHERE
    count = max(2, min(most, bench.order.most_sessions))
    before, between = Gate(), Gate()

    def does(at_start: Callable[[], None], at_login: Callable[[], None]) -> None:
        module = bench.module
        at_start()
        ready = not bench.answer("C_Initialize", bench.initialize) and _finds_token(bench)
        session = bench.call("C_OpenSession", partial(module.open_session, bench.slot)) if ready else None
        at_login()
        if session is None:
            return
        bench.session = session
        if not bench.answer("C_Login", partial(module.login, session, bench.order.pin)) and bench.find_key():
            if bench.key:
                bench.sign()
            bench.answer("C_Finalize", module.finalize)

    at_once = partial(does, before.pass_through, between.pass_through)
    children = [bench.fork(f"process {number}", at_once) for number in range(1, count + 1)]
    patience_s = bench.order.patience_s
    before.open(count, time.monotonic() + patience_s)
    between.open(count, time.monotonic() + patience_s)
    until_s = time.monotonic() + patience_s
    for child in children:
        child.wait(until_s)
    bench.in_child("lone process", partial(does, _go_on, _go_on))


def _go_on() -> None:
    """At no gate."""


def _finds_token(bench: Bench) -> bool:
    found = bench.find_token()
    if not found:
        bench.fact(f"{bench.who} found no token", True)
    return found


def _sign_in_threads(bench: Bench, locking: Locking, count: int) -> None:
    module, order = bench.module, bench.order
    if bench.answer("C_Initialize", lambda: module.initialize(locking, order.init_string), locking=locking):
        return
    if not bench.find_token() or not bench.log_in():
        return
    draws = draw(bench)  # what works for none is no matter of threads
    if bench.key and not bench.sign():
        return
    sessions = _sessions(bench, count)
    until_s = _loop_until_s(bench)
    _together(len(sessions), lambda who: _loop(bench, who, sessions[who], _Alone(until_s), draws))


class _Alone:
    """A thread that goes through its loop at its own speed."""

    def __init__(self, until_s: float) -> None:
        self._until_s = until_s

    def time_is_left(self) -> bool:
        return time.monotonic() < self._until_s

    def step(self) -> None:
        """Between C_SignInit and C_Sign."""


class _Pace:
    """Has threads go through their loops in step, until the time is over for all.

    Every other time they also wait for each other after C_SignInit, so that two operations have been begun then.
    """

    def __init__(self, count: int, until_s: float) -> None:
        self._until_s = until_s
        self._over = False
        self._times = 0
        self._start = threading.Barrier(count, action=self._look)
        self._begun = threading.Barrier(count)

    def _look(self) -> None:
        self._over = time.monotonic() > self._until_s
        self._times += 1

    def time_is_left(self) -> bool:
        self._start.wait()
        return not self._over

    def step(self) -> None:
        if self._times % 2:
            self._begun.wait()


def _loop(bench: Bench, who: str, session: int, pace: _Alone | _Pace, draws: bool) -> None:
    """Draws and signs. Announced as one call: C_Sign (C_GenerateRandom without a key), with the first refusal."""
    module, prefix = bench.module, bytes.fromhex(bench.order.prefix)
    answers: Counter[str] = Counter()
    refused: list[CryptokiError] = []

    def once(name: str, made: Callable[[], bytes | None]) -> bytes | None:
        try:
            result = made()
        except CryptokiError as error:
            answers[f"{name} {ckr_name(error.ckr)}"] += 1
            refused.append(error)
            return None
        answers[f"{name} CKR_OK"] += 1
        return result if result is not None else b""

    def begin() -> None:
        module.sign_init(session, bench.order.mechanism, bench.key)

    def loop() -> None:
        for _ in range(_TIMES):
            if not pace.time_is_left():
                break
            if draws and (value := once("C_GenerateRandom", partial(module.random, session, BYTES))):
                bench.output(value, who=who)
            if not bench.key:
                continue
            begun = once("C_SignInit", begin) is not None
            pace.step()
            data = bench.digest()
            if begun and (value := once("C_Sign", partial(module.sign, session, prefix + data))):
                bench.output(value, data, who)
        bench.fact(f"answers of {who}", dict(answers))
        if refused:
            raise refused[0]

    bench.call("C_Sign" if bench.key else "C_GenerateRandom", loop, who, most=_TIMES)


def _sessions(bench: Bench, count: int) -> dict[str, int]:
    """One for each thread, by its name; fewer where the token has no more."""
    found = {}
    for number in range(1, count + 1):
        session = bench.call("C_OpenSession", partial(bench.module.open_session, bench.slot))
        if session is None:
            break
        found[f"thread {number}"] = session
    return found


def _together(count: int, does: Callable[[str], object]) -> None:
    """Has threads do something at one instant, and waits for all."""
    if not count:
        return
    barrier = threading.Barrier(count)

    def run(who: str) -> None:
        barrier.wait()
        does(who)

    threads = [threading.Thread(target=run, args=(f"thread {number}",)) for number in range(1, count + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _in_process(bench: Bench, does: Callable[[], None]) -> None:
    """In one that maps the module for itself."""
    bench.fork("process", does).wait(time.monotonic() + 2 * bench.order.patience_s)


def _loop_until_s(bench: Bench) -> float:
    """When a loop that is not done ends: well before its process is taken for one that hangs."""
    return time.monotonic() + bench.order.patience_s / 3


STAGES: Final = {
    "initialize-in-threads": initialize_in_threads,
    "login-in-threads": login_in_threads,
    "threads-without-locking": threads_without_locking,
    "threads-with-locking": threads_with_locking,
    "shared-session": shared_session,
    "many-processes": many_processes,
}
