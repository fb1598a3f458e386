"""A context as context policies see it, and the two that the operation loops in C drive: none at all, and PKCS#11."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final, Protocol

from lab.native.loops import SESSION_OWN, SESSION_POOL, Drive, Load, Work
from lab.record.mechanisms import Mechanism, mechanism
from lab.record.order import ContextOrder, TokenOrder, TrialOrder
from lab.worker.pkcs11_library import SESSION_USE, Pkcs11
from lab.worker.steps import CKR_CRYPTOKI_NOT_INITIALIZED, step

FOREVER_NS: Final = 2**62


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
        self._order, self._policy = order, context
        self._mechanism: Mechanism | None = (
            mechanism(order.mechanism, order.key) if order.mechanism and order.key else None
        )
        self._pkcs11 = Pkcs11(token, context, (token.key_label,) if self._mechanism else ())
        self._drive: Drive | None = None
        self._busy: list[threading.Thread] = []
        self._busy_sessions: list[int] = []

    def make(self, drive: Drive, threads: int) -> None:
        self._pkcs11.make(drive, threads)
        self.adopt(drive)

    def adopt(self, drive: Drive) -> None:
        drive.set(self._work())
        self._drive = drive

    def _work(self) -> Work:
        mechanism = self._mechanism
        return Work(
            kind=self._order.workload.replace("-", "_"),
            function_list=self._pkcs11.module.function_list,
            slot=self._pkcs11.slot,
            sessions=tuple(self._pkcs11.sessions),
            session_use=SESSION_USE[self._policy.session],
            key=self._pkcs11.keys[0] if self._pkcs11.keys else 0,
            mechanism=mechanism.number if mechanism else 0,
            parameter=mechanism.parameter if mechanism else (),
            prefix=mechanism.prefix if mechanism else b"",
            digest_bytes=mechanism.data_bytes if mechanism else 32,
            seed=self._order.seed,
        )

    def reopen(self, drive: Drive, threads: int) -> None:
        self._pkcs11.reopen(drive, threads)
        self.adopt(drive)

    def reload(self, drive: Drive, threads: int) -> None:
        self._pkcs11.reload(drive, threads)
        self.adopt(drive)

    def begin_operation(self) -> None:
        if self._mechanism:
            pooled = SESSION_USE[self._policy.session] == SESSION_POOL
            # the one that the next operation takes: a pool is a stack
            session = self._pkcs11.sessions[-1 if pooled else 0]
            key = self._pkcs11.keys[0]
            self._pkcs11.module.sign_init(session, self._mechanism.number, key, self._mechanism.parameter)

    def once(self, phase: str, resume: bool = False) -> int:
        return self._drive.once(0, phase, resume=resume) if self._drive else CKR_CRYPTOKI_NOT_INITIALIZED

    def run(self, thread: int, load: Load) -> None:
        if self._drive:
            self._drive.run(thread, load)

    def occupy(self, drive: Drive, threads: int) -> None:
        sessions = []
        for _ in range(threads):
            with step(drive, "open_session", "background"):
                sessions.append(self._pkcs11.module.open_session(self._pkcs11.slot))
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
                self._pkcs11.module.close_session(session)
        self.adopt(self._drive)

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        self._pkcs11.leave(drive, own_context, own_sessions)
