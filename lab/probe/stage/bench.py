"""What stages work with: calls that are announced and answered, forks that are waited for, a context made ready."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import mmap
import os
import select
import signal
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from lab.native.cryptoki import AttributeValue, CryptokiError, NotAModule
from lab.probe.order import StageOrder
from lab.probe.seen import PIN_REFUSED, say
from lab.probe.stage.module import CKA_CLASS, CKA_LABEL, CKO_PRIVATE_KEY, Module
from lab.probe.stage.pristine import Pristine
from lab.process.beside import Beside, end_all, start_all
from lab.process.own import die_with_parent, let_stacks_be_read
from lab.process.stacks import outer, save_stack

EVENTS: Final = 3
_MOST_STACK: Final = 2500
"""Bytes of a stack in an event, which must stay below PIPE_BUF. The whole one is in the stage's folder."""
_MOST_HANGS: Final = 2
"""After so many in one process the others get little time, or a module that always hangs would cost minutes."""
_SHORT_S: Final = 1.0
_LONGEST_S: Final = 10.0
"""Of signing without end."""

T = TypeVar("T")


class Bench:
    """One process of a stage. After a fork the child has its parent's, under another name."""

    def __init__(self, order: StageOrder) -> None:
        self.order = order
        self.who = "parent"
        self.scene = ""  # " (exit)": added to the names of all processes of a scene
        self.hangs = 0  # children that this process saw hang
        self.slot = 0
        self.session = 0
        self.key = 0
        self.programs: list[Beside] = []  # what the token needs, running
        self._pristine: Pristine | None = None
        self._pin_refused = mmap.mmap(-1, 1)  # anonymous, shared with all that are forked
        self._numbers = itertools.count()
        self._signed = itertools.count()

    @cached_property
    def module(self) -> Module:
        """Loaded when it is first asked for, which is announced as the call dlopen. Raises NotAModule."""
        loaded = self.call("dlopen", lambda: Module(Path(self.order.module), self.order.read_write))
        if loaded is None:
            raise NotAModule("C_GetFunctionList is refused")
        return loaded

    def call(
        self,
        name: str,
        made: Callable[[], T],
        who: str | None = None,
        describe: Callable[[T], dict[str, Any]] | None = None,
        **facts: Any,
    ) -> T | None:
        """Makes one call; its result, or None where it was refused. A crash or a hang in it stays announced.

        facts, and what `describe` says of the result, go into reports with the call: no secret, and no output.
        """
        number, pid = next(self._numbers), os.getpid()
        os.write(EVENTS, say(begun=number, pid=pid, who=who or self.who, call=name, facts=facts))
        try:
            result = made()
        except CryptokiError as error:
            if name == "C_Login" and error.ckr in PIN_REFUSED:
                self._pin_refused[0] = 1
            where = {} if error.function == name else {"in": error.function}
            os.write(EVENTS, say(answered=number, pid=pid, ckr=error.ckr, facts=where))
            return None
        os.write(EVENTS, say(answered=number, pid=pid, ckr=0, facts=describe(result) if describe else {}))
        return result

    @property
    def must_not_log_in(self) -> bool:
        """Whether one more try of the PIN may lock a token that is somebody else's: the right one was refused."""
        return not self.order.may_create and bool(self._pin_refused[0])

    def answer(self, name: str, made: Callable[[], object], who: str | None = None, **facts: Any) -> int:
        """Makes one call; its CKR code."""
        ckr = 0

        def told() -> None:
            nonlocal ckr
            try:
                made()
            except CryptokiError as error:
                ckr = error.ckr
                raise

        self.call(name, told, who, **facts)
        return ckr

    def fact(self, name: str, value: Any) -> None:
        """Something that is no call. Its name is the stage's own; a process of a scene adds the scene's."""
        os.write(EVENTS, say(fact=name + self.scene, value=value))

    def output(self, value: bytes, data: bytes = b"", who: str | None = None) -> None:
        """A signature or random bytes, for comparison; in no report."""
        os.write(EVENTS, say(output=value.hex(), data=data.hex(), who=who or self.who))

    def make_ready(self) -> bool:
        """Initialises, finds the token, opens a session, logs in and finds the key, where there is one to be found."""
        _ = self.module  # loaded before the call is announced
        self.call("C_Initialize", self.initialize)
        return self.find_token() and self.log_in()

    def initialize(self) -> None:
        self.module.initialize("os", self.order.init_string)

    def find_token(self) -> bool:
        slot = self.call("C_GetSlotList", lambda: self.module.find_token(self.order.token_label))
        self.slot = slot or 0
        return slot is not None

    def log_in(self) -> bool:
        """Opens a session, logs in, and finds the key."""
        session = self.call("C_OpenSession", lambda: self.module.open_session(self.slot))
        if session is None:
            return False
        self.session = session
        self.call("C_Login", lambda: self.module.login(session, self.order.pin))
        return self.find_key()

    def find_key(self) -> bool:
        """In its session; True, too, where the order has none."""
        if not self.order.key_label:
            return True
        wanted: dict[int, AttributeValue] = {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: self.order.key_label}
        found = self.call("C_FindObjects", lambda: self.module.find_objects(self.session, wanted, most=1))
        self.key = found[0] if found else 0
        return bool(found)

    def digest(self) -> bytes:
        """Data to sign, which no other process and no earlier call has."""
        return hashlib.new(self.order.hash, f"{os.getpid()} {next(self._signed)} {self.who}".encode()).digest()

    def sign(self, who: str | None = None, session: int | None = None) -> bool:
        """Signs a digest of its own with its key; whether that was answered. Whether it is right is judged later."""
        if self.call("C_SignInit", partial(self.begin_to_sign, session), who) is None:
            return False
        return self.finish_signing(who, session)

    def begin_to_sign(self, session: int | None = None) -> bool:
        """C_SignInit, unannounced."""
        self.module.sign_init(session or self.session, self.order.mechanism, self.key)
        return True

    def finish_signing(self, who: str | None = None, session: int | None = None) -> bool:
        """C_Sign of a digest of its own."""
        data = self.digest()
        given = bytes.fromhex(self.order.prefix) + data
        value = self.call("C_Sign", lambda: self.module.sign(session or self.session, given), who)
        if value is not None:
            self.output(value, data, who)
        return value is not None

    def keep_signing(
        self,
        going: Callable[[int], bool],
        most_s: float | None = None,
        who: str | None = None,
        session: int | None = None,
    ) -> None:
        """Signs as long as going(times) says, as one call C_Sign with the fact `times`. Of its outputs it says a few.

        session: default its own, which only one thread may use. most_s: after which it ends all the same.
        """
        data, given = self.digest(), bytes.fromhex(self.order.prefix)
        until_s = time.monotonic() + (most_s or _LONGEST_S)
        last: list[bytes] = []

        def signing() -> int:
            times = 0
            while going(times) and time.monotonic() < until_s:
                self.begin_to_sign(session)
                last[:] = [*last[-1:], self.module.sign(session or self.session, given + data)]
                times += 1
            return times

        self.call("C_Sign", signing, who, describe=lambda times: {"times": times})
        for value in last:
            self.output(value, data, who)

    def fork(self, who: str, does: Callable[[], object]) -> Child:
        """Starts a child that does something and ends with status 0. It must be waited for."""
        parent, pid = os.getpid(), os.fork()
        if pid:
            return Child(self, who + self.scene, pid)
        try:
            die_with_parent(parent)
            let_stacks_be_read()
            self.who = who + self.scene
            does()
        except BaseException as error:
            os.write(2, f"{self.who}: {type(error).__name__}: {error}\n".encode())
            os._exit(os.EX_SOFTWARE)
        os._exit(0)

    def in_child(self, who: str, does: Callable[[], object]) -> None:
        """Has a child do something, and waits for its end."""
        self.fork(who, does).wait()

    def act(self, scene: str, does: Callable[[], object], patience_s: float | None = None) -> None:
        """Has a parent of its own, which maps the module for itself, do something: what it breaks ends with it.

        Names of its processes and facts have the scene's name after them: `parent (exit)`, `child (exit)`. After
        several that hung, or a refusal of the right PIN, there is no further one.
        """
        if self.hangs >= _MOST_HANGS or self.must_not_log_in:
            return
        self._start_afresh()
        self.scene = f" ({scene})"
        acting = self.fork("parent", does)
        self.scene = ""
        acting.wait(time.monotonic() + (patience_s or 2 * self.patience_s))

    def start_programs(self) -> None:
        """What the token needs beside it. Raises LabFault."""
        self.programs = start_all(self.order.beside)

    def _start_afresh(self) -> None:
        """The token as it was, whatever an earlier scene did to its files and programs."""
        token, folder = Path(self.order.token), Path(self.order.folder)
        end_all(self.programs)
        for order in self.order.beside:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(order.ready)
        if self._pristine is None:
            self._pristine = Pristine(token, folder / "pristine")
        else:
            self._pristine.bring_back()
        self.start_programs()

    @property
    def patience_s(self) -> float:
        """For one child."""
        return self.order.patience_s if self.hangs < _MOST_HANGS else min(_SHORT_S, self.order.patience_s)


class Child:
    """A child of a stage's process."""

    def __init__(self, bench: Bench, who: str, pid: int) -> None:
        self.who, self.pid = who, pid
        self._bench = bench
        self.handle = os.pidfd_open(pid)

    def has_ended(self, patience_s: float) -> bool:
        """Whether it has ended, or does within that time. It is still to be waited for."""
        return bool(select.select([self.handle], [], [], patience_s)[0])

    def wait(self, until_s: float | None = None, patience: float = 1) -> None:
        """Waits and says how it ended. One that takes longer than the bench's patience hangs: it is ended.

        until_s: instant of time.monotonic(), of several that are waited for together. patience: times the bench's,
        for a child that waits for children itself.
        """
        patience_s = self._bench.patience_s * patience if until_s is None else max(0.0, until_s - time.monotonic())
        stack, hung = "", not self.has_ended(patience_s)
        if hung:
            self._bench.hangs += 1
            if self._bench.hangs <= _MOST_HANGS:
                file = Path(self._bench.order.folder) / f"stack-{self.pid}.txt"
                save_stack(self.pid, file)
                stack = outer(file.read_text(errors="replace"))[:_MOST_STACK]
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.handle)
        how = "hang" if hung else "signal" if status < 0 else "exit"
        os.write(EVENTS, say(end=self.who, pid=self.pid, how=how, status=0 if hung else abs(status), stack=stack))

    def kill(self, number: int) -> None:
        """Sends it a signal."""
        signal.pidfd_send_signal(self.handle, number)
