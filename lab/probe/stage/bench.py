"""What stages work with: calls that are announced and answered, forks that are waited for, a context made ready."""

from __future__ import annotations

import itertools
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from lab.native.cryptoki import AttributeValue, Cryptoki, CryptokiError
from lab.probe.order import StageOrder
from lab.probe.seen import say
from lab.process.own import die_with_parent, let_stacks_be_read
from lab.process.stacks import save_stack

EVENTS: Final = 3
_MOST_STACK: Final = 2500
"""Bytes of a stack in an event, which must stay below PIPE_BUF. The whole one is in the stage's folder."""

CKO_PRIVATE_KEY: Final = 3
CKA_CLASS, CKA_LABEL = 0x0, 0x3

T = TypeVar("T")


class Bench:
    """One process of a stage. After a fork the child has its parent's, under another name."""

    def __init__(self, order: StageOrder) -> None:
        self.order = order
        self.who = "parent"
        self._numbers = itertools.count()
        self.module = Cryptoki(Path(order.module))
        self.slot = 0
        self.session = 0
        self.key = 0

    def call(self, name: str, made: Callable[[], T], who: str | None = None, **facts: Any) -> T | None:
        """Makes one call; its result, or None where it was refused. A crash or a hang in it stays announced."""
        number, pid = next(self._numbers), os.getpid()
        os.write(EVENTS, say(begun=number, pid=pid, who=who or self.who, call=name, facts=facts))
        try:
            result = made()
        except CryptokiError as error:
            os.write(EVENTS, say(answered=number, pid=pid, ckr=error.ckr))
            return None
        os.write(EVENTS, say(answered=number, pid=pid, ckr=0))
        return result

    def fact(self, name: str, value: Any) -> None:
        os.write(EVENTS, say(fact=name, value=value))

    def output(self, value: bytes, data: bytes = b"", who: str | None = None) -> None:
        """A signature or random bytes, for comparison; in no report."""
        os.write(EVENTS, say(output=value.hex(), data=data.hex(), who=who or self.who))

    def make_ready(self) -> bool:
        """Initialises, finds the token, opens a session, logs in and finds the key, where there is one to be found."""
        order, module = self.order, self.module
        self.call("C_Initialize", lambda: module.initialize("os", order.init_string))
        slot = self.call("C_GetSlotList", lambda: module.find_token(order.token_label))
        if slot is None:
            return False
        self.slot = slot
        return self.log_in()

    def log_in(self) -> bool:
        """Opens a session, logs in, and finds the key."""
        order, module = self.order, self.module
        session = self.call("C_OpenSession", lambda: module.open_session(self.slot))
        if session is None:
            return False
        self.session = session
        self.call("C_Login", lambda: module.login(session, order.pin))
        if order.key_label:
            wanted: dict[int, AttributeValue] = {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: order.key_label}
            found = self.call("C_FindObjects", lambda: module.find_objects(session, wanted, most=1))
            if not found:
                return False
            self.key = found[0]
        return True

    def fork(self, who: str, does: Callable[[], object]) -> Child:
        """Starts a child that does something and ends with status 0. It must be waited for."""
        parent, pid = os.getpid(), os.fork()
        if pid:
            return Child(self, who, pid)
        try:
            die_with_parent(parent)
            let_stacks_be_read()
            self.who = who
            does()
        except BaseException as error:
            os.write(2, f"{who}: {type(error).__name__}: {error}\n".encode())
            os._exit(os.EX_SOFTWARE)
        os._exit(0)

    def in_child(self, who: str, does: Callable[[], object]) -> None:
        """Has a child do something, and waits for its end."""
        self.fork(who, does).wait()


class Child:
    """A child of a stage's process."""

    def __init__(self, bench: Bench, who: str, pid: int) -> None:
        self.who, self.pid = who, pid
        self._bench = bench
        self._handle = os.pidfd_open(pid)

    def wait(self, until_s: float | None = None) -> None:
        """Waits and says how it ended. One that takes longer than the order's patience hangs: it is ended.

        until_s: instant of time.monotonic(), of several that are waited for together.
        """
        patience_s = self._bench.order.patience_s if until_s is None else max(0.0, until_s - time.monotonic())
        stack = ""
        if not select.select([self._handle], [], [], patience_s)[0]:
            file = Path(self._bench.order.folder) / f"stack-{self.pid}.txt"
            save_stack(self.pid, file)
            stack = file.read_text(errors="replace")[:_MOST_STACK]
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._handle)
        how = "hang" if stack else "signal" if status < 0 else "exit"
        os.write(EVENTS, say(end=self.who, pid=self.pid, how=how, status=0 if stack else abs(status), stack=stack))
