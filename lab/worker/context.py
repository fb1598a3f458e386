"""A context: one process's initialised PKCS#11 library, its sessions and its key; here driven by the loops in C."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from lab.native.cryptoki import AttributeValue, Cryptoki, CryptokiError
from lab.native.loops import (
    SESSION_OWN,
    SESSION_PER_OPERATION,
    SESSION_POOL,
    Drive,
    Load,
    Work,
)
from lab.record.mechanisms import Mechanism, mechanism
from lab.record.order import ContextOrder, TokenOrder, TrialOrder
from lab.worker.steps import CKR_KEY_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT, SetUpFailed, step

CKO_PRIVATE_KEY = 3
CKA_CLASS, CKA_LABEL = 0x0, 0x3
CKR_CRYPTOKI_NOT_INITIALIZED = 0x190
FOREVER_NS: Final = 2**62
_SESSION_USE: Final = {
    "per-thread": SESSION_OWN,
    "per-process": SESSION_POOL,  # a pool of one: its lock is the lock
    "pool": SESSION_POOL,
    "per-operation": SESSION_PER_OPERATION,
}


class Context(Protocol):
    """What a context policy can do with a context. Every method records its steps in the given Drive."""

    def make(self, drive: Drive, threads: int) -> None:
        """Loads, initialises, logs in, opens sessions for `threads` threads, finds the key. Raises SetUpFailed."""

    def adopt(self, drive: Drive) -> None:
        """Takes the inherited handles as they are."""

    def reopen(self, drive: Drive, threads: int) -> None:
        """Opens sessions of its own in the inherited context, and finds the key again. Raises SetUpFailed."""

    def reload(self, drive: Drive, threads: int) -> None:
        """C_Finalize, C_Initialize and all that follows. Raises SetUpFailed."""

    def begin_operation(self) -> None:
        """Leaves an operation open (C_SignInit) on the session that thread 0 uses next; the fork falls in it."""

    def once(self, phase: str, resume: bool = False) -> int:
        """One operation outside the load; returns its CKR code."""

    def run(self, thread: int, load: Load) -> None:
        """One thread's whole load."""

    def occupy(self, drive: Drive, threads: int) -> None:
        """Starts that many threads that operate on sessions of their own until stop(). Raises SetUpFailed."""

    def stop(self) -> None:
        """Ends what occupy() began."""

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        """Closes what this process opened itself, also after a set-up that failed. Raises SetUpFailed."""


def session_count(context: ContextOrder, threads: int) -> int:
    """Sessions that a process keeps open: a login lasts while one is, so per-operation keeps one too."""
    return {"per-thread": threads, "per-process": 1, "pool": context.pool_size, "per-operation": 1}[context.session]


class NullContext:
    """No token at all: the lab's own floor."""

    def __init__(self) -> None:
        self._drive: Drive | None = None

    def make(self, drive: Drive, threads: int) -> None:
        self.adopt(drive)

    def adopt(self, drive: Drive) -> None:
        drive.set(Work("null"))
        self._drive = drive

    def reopen(self, drive: Drive, threads: int) -> None:
        self.adopt(drive)

    def reload(self, drive: Drive, threads: int) -> None:
        self.adopt(drive)

    def begin_operation(self) -> None:
        """Nothing can be under way."""

    def once(self, phase: str, resume: bool = False) -> int:
        return self._drive.once(0, phase) if self._drive else 0

    def run(self, thread: int, load: Load) -> None:
        if self._drive:
            self._drive.run(thread, load)

    def occupy(self, drive: Drive, threads: int) -> None:
        """The null workload has no parent's context to be busy in."""

    def stop(self) -> None:
        """Nothing was begun."""

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        """Nothing was opened."""


class NativeContext:
    """Set up through ctypes, timed in C."""

    def __init__(self, order: TrialOrder, token: TokenOrder, context: ContextOrder) -> None:
        self._order, self._token, self._policy = order, token, context
        self._mechanism: Mechanism | None = (
            mechanism(order.mechanism, order.key) if order.mechanism and order.key else None
        )
        self._cryptoki: Cryptoki | None = None
        self._slot = 0
        self._initialized = False
        self._sessions: list[int] = []
        self._key = 0
        self._drive: Drive | None = None
        self._busy: list[threading.Thread] = []
        self._busy_sessions: list[int] = []

    @property
    def _module(self) -> Cryptoki:
        if self._cryptoki is None:
            raise SetUpFailed("C_Initialize", CKR_CRYPTOKI_NOT_INITIALIZED)
        return self._cryptoki

    def make(self, drive: Drive, threads: int) -> None:
        with step(drive, "load"):
            self._cryptoki = Cryptoki(Path(self._token.module))
        self._initialize(drive, threads)

    def _initialize(self, drive: Drive, threads: int) -> None:
        self._sessions = []
        with step(drive, "initialize"):
            self._module.initialize(self._policy.locking, self._token.init_string)
        self._initialized = True
        with step(drive, "find_token"):
            slot = self._module.find_token(self._token.token_label)
            if slot is None:
                raise SetUpFailed("C_GetSlotList", CKR_TOKEN_NOT_PRESENT)
            self._slot = slot
        self._open(drive, threads, login=True)

    def _open(self, drive: Drive, threads: int, login: bool) -> None:
        self._sessions = []
        with step(drive, "open_session"):
            self._sessions.append(self._module.open_session(self._slot))
        if login:
            with step(drive, "login"):
                self._module.login(self._sessions[0], self._token.pin)
        for _ in range(session_count(self._policy, threads) - 1):
            with step(drive, "open_session"):
                self._sessions.append(self._module.open_session(self._slot))
        if self._mechanism:
            with step(drive, "find_key"):
                wanted: dict[int, AttributeValue] = {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: self._token.key_label}
                keys = self._module.find_objects(self._sessions[0], wanted, most=1)
                if not keys:
                    raise SetUpFailed("C_FindObjects", CKR_KEY_HANDLE_INVALID)
                self._key = keys[0]
        self.adopt(drive)

    def adopt(self, drive: Drive) -> None:
        drive.set(self._work())
        self._drive = drive

    def _work(self) -> Work:
        mechanism = self._mechanism
        return Work(
            kind=self._order.workload.replace("-", "_"),
            function_list=self._module.function_list,
            slot=self._slot,
            sessions=tuple(self._sessions),
            session_use=_SESSION_USE[self._policy.session],
            key=self._key,
            mechanism=mechanism.number if mechanism else 0,
            parameter=mechanism.parameter if mechanism else (),
            prefix=mechanism.prefix if mechanism else b"",
            digest_bytes=mechanism.data_bytes if mechanism else 32,
            seed=self._order.seed,
        )

    def reopen(self, drive: Drive, threads: int) -> None:
        self._open(drive, threads, login=False)

    def reload(self, drive: Drive, threads: int) -> None:
        self._sessions, self._initialized = [], False
        with step(drive, "finalize"):
            try:
                self._module.finalize()
            except CryptokiError as error:
                if error.ckr != CKR_CRYPTOKI_NOT_INITIALIZED:  # a module that noticed the fork has nothing to finalise
                    raise
        self._initialize(drive, threads)

    def begin_operation(self) -> None:
        if self._mechanism:
            pooled = _SESSION_USE[self._policy.session] == SESSION_POOL
            session = self._sessions[-1 if pooled else 0]  # the one that the next operation takes: a pool is a stack
            self._module.sign_init(session, self._mechanism.number, self._key, self._mechanism.parameter)

    def once(self, phase: str, resume: bool = False) -> int:
        return self._drive.once(0, phase, resume=resume) if self._drive else CKR_CRYPTOKI_NOT_INITIALIZED

    def run(self, thread: int, load: Load) -> None:
        if self._drive:
            self._drive.run(thread, load)

    def occupy(self, drive: Drive, threads: int) -> None:
        sessions = []
        for _ in range(threads):
            with step(drive, "open_session", "background"):
                sessions.append(self._module.open_session(self._slot))
        self._busy_sessions = sessions
        drive.set(replace(self._work(), sessions=tuple(sessions), session_use=SESSION_OWN))
        self._drive = drive
        load = Load(0, 0, FOREVER_NS, FOREVER_NS, background=True)
        self._busy = [threading.Thread(target=drive.run, args=(t, load), daemon=True) for t in range(threads)]
        for thread in self._busy:
            thread.start()

    def stop(self) -> None:
        if self._drive is None or not self._busy:
            return
        self._drive.stop()
        for thread in self._busy:
            thread.join()
        self._busy = []
        with step(self._drive, "finalize", "background"):
            for session in self._busy_sessions:
                self._module.close_session(session)
        self.adopt(self._drive)

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        with step(drive, "finalize", "teardown"):
            if own_sessions:
                while self._sessions:
                    self._module.close_session(self._sessions.pop())
            if own_context and self._initialized:
                self._initialized = False
                self._module.finalize()
