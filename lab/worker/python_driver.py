"""The context of a Python application: python-pkcs11, used as its documentation shows, and timed in Python.

python-pkcs11 calls C_Initialize(NULL): a scenario cannot ask it for OS locking. That is the point of this driver.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pkcs11
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn

from lab.native.cryptoki import CryptokiError
from lab.native.loops import Drive, Load, Work, wait_until
from lab.record.mechanisms import mechanism
from lab.record.names import FUNCTION_NUMBER, MECHANISM, ckr_number
from lab.record.order import ContextOrder, TokenOrder, TrialOrder
from lab.worker.context import FOREVER_NS
from lab.worker.pkcs11_library import session_count
from lab.worker.steps import CKR_GENERAL_ERROR, step

_PAUSE_AFTER_FAILURE_S: Final = 0.001  # as the loops in C
_SPELLING: Final = {"TokenNotRecognised": "TOKEN_NOT_RECOGNIZED", "NoSuchToken": "TOKEN_NOT_PRESENT"}
_SPELLING_KEYS: Final = {"NoSuchKey": "KEY_HANDLE_INVALID", "MultipleTokensReturned": "TOKEN_NOT_RECOGNIZED"}
_MESSAGES: Final = {
    "not initialized": "CRYPTOKI_NOT_INITIALIZED",
    "already initialized": "CRYPTOKI_ALREADY_INITIALIZED",
}


def code_of(error: PKCS11Error) -> int:
    """The CKR code behind an exception of python-pkcs11, which keeps its name only; CKR_GENERAL_ERROR where lost."""
    name = type(error).__name__
    for fragment, code in _MESSAGES.items():
        if fragment in str(error):
            return ckr_number(f"CKR_{code}") or CKR_GENERAL_ERROR
    unmapped = re.search(r"0x[0-9a-f]+", str(error))
    if unmapped:
        return int(unmapped[0], 16)
    spelt = _SPELLING.get(name) or _SPELLING_KEYS.get(name)
    snake = spelt or re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).upper()
    return ckr_number(f"CKR_{snake}") or CKR_GENERAL_ERROR


@contextmanager
def _as_cryptoki(function: str) -> Iterator[None]:
    try:
        yield
    except PKCS11Error as error:
        raise CryptokiError(function, code_of(error)) from None


class PythonContext:
    """One python-pkcs11 library with its sessions and key; see lab.worker.context.Context."""

    def __init__(self, order: TrialOrder, token: TokenOrder, context: ContextOrder) -> None:
        self._order, self._token, self._policy = order, token, context
        self._mechanism = mechanism(order.mechanism, order.key) if order.mechanism and order.key else None
        self._how = pkcs11.Mechanism(MECHANISM[order.mechanism]) if order.mechanism else None
        self._library: Any = None
        self._slot_token: Any = None
        self._sessions: list[Any] = []
        self._keys: list[Any] = []
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._drive: Drive | None = None
        self._stopped = threading.Event()
        self._busy: list[threading.Thread] = []

    def make(self, drive: Drive, threads: int) -> None:
        with step(drive, "initialize"), _as_cryptoki("C_Initialize"):
            self._library = pkcs11.lib(self._token.module)
        self._log_in(drive, threads)

    def _log_in(self, drive: Drive, threads: int) -> None:
        self._sessions = []
        with step(drive, "find_token"), _as_cryptoki("C_GetSlotList"):
            self._slot_token = self._library.get_token(token_label=self._token.token_label)
        with step(drive, "login"), _as_cryptoki("C_Login"):  # python-pkcs11 opens the session in the same call
            first = self._first_session()
        self._open(drive, threads, [first])

    def _first_session(self) -> Any:
        """See Pkcs11 for brokers. There, the session that python-pkcs11 could not log in with stays open."""
        try:
            return self._slot_token.open(user_pin=self._token.pin)
        except UserAlreadyLoggedIn:
            if self._policy.policy != "broker":
                raise
            return self._slot_token.open()

    def _open(self, drive: Drive, threads: int, sessions: list[Any]) -> None:
        self._sessions = sessions
        while len(sessions) < session_count(self._policy, threads):
            with step(drive, "open_session"), _as_cryptoki("C_OpenSession"):
                sessions.append(self._slot_token.open())
        self._keys = []
        if self._mechanism:
            for session in sessions:  # a key object belongs to its session
                with step(drive, "find_key"), _as_cryptoki("C_FindObjects"):
                    self._keys.append(self._find_key(session))
        self.adopt(drive)

    def _find_key(self, session: Any) -> Any:
        return session.get_key(label=self._token.key_label, object_class=pkcs11.ObjectClass.PRIVATE_KEY)

    def adopt(self, drive: Drive) -> None:
        drive.set(Work(kind=self._kind, seed=self._order.seed))
        self._drive = drive
        self._free = queue.SimpleQueue()
        for index in range(len(self._sessions)):
            self._free.put(index)

    @property
    def _kind(self) -> str:
        return self._order.workload.replace("-", "_")

    def reopen(self, drive: Drive, threads: int) -> None:
        self._open(drive, threads, [])

    def reload(self, drive: Drive, threads: int) -> None:
        with step(drive, "finalize"):
            try:
                self._library.finalize()
            except PKCS11Error as error:
                if "not initialized" not in str(error):
                    raise CryptokiError("C_Finalize", code_of(error)) from None
        with step(drive, "initialize"), _as_cryptoki("C_Initialize"):
            if not self._library.initialized:
                self._library.initialize()
        self._log_in(drive, threads)

    def begin_operation(self) -> None:
        """python-pkcs11 has no way to leave an operation open; scenarios refuse the combination."""

    def occupy(self, drive: Drive, threads: int) -> None:
        sessions = self._sessions
        self._open(drive, max(threads, len(sessions)), list(sessions))
        load = Load(0, 0, FOREVER_NS, FOREVER_NS, background=True)
        self._busy = [threading.Thread(target=self.run, args=(t, load), daemon=True) for t in range(threads)]
        for thread in self._busy:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._busy:
            thread.join()
        self._busy = []

    # operations

    def _operation(self, thread: int, phase: str, sequence: int, intended_ns: int) -> int:
        """One operation as an application writes it, and its row. Returns the CKR code."""
        drive = self._drive
        if drive is None:
            return CKR_GENERAL_ERROR
        row = drive.begin(self._kind, phase, thread, sequence, intended_ns)
        data = b""
        if self._mechanism:
            data = self._mechanism.prefix + drive.data(row, self._mechanism.data_bytes)
        function = "C_Sign" if self._mechanism else "C_GenerateRandom"
        try:
            output = self._borrowing(thread, lambda session, key: self._call(session, key, data))
        except PKCS11Error as error:
            code = code_of(error)
            drive.end(row, code, FUNCTION_NUMBER[function])
            return code
        drive.end(row, output=output)
        return 0

    def _call(self, session: Any, key: Any, data: bytes) -> bytes:
        if self._kind == "session_churn":
            return b""
        if not self._mechanism:
            return bytes(session.generate_random(32 * 8))
        parameter = None
        if self._mechanism.padding == "pss":
            digest, mask, salt = self._mechanism.parameter
            parameter = (pkcs11.Mechanism(digest), pkcs11.MGF(mask), salt)
        return bytes(key.sign(data, mechanism=self._how, mechanism_param=parameter))

    def _borrowing(self, thread: int, operation: Callable[[Any, Any], bytes]) -> bytes:
        if self._kind == "session_churn" or self._policy.session == "per-operation":
            with self._slot_token.open() as session:
                return operation(session, self._find_key(session) if self._mechanism else None)
        if self._policy.session == "per-thread":
            index = thread % len(self._sessions)
            return operation(self._sessions[index], self._keys[index] if self._keys else None)
        index = self._free.get()
        try:
            return operation(self._sessions[index], self._keys[index] if self._keys else None)
        finally:
            self._free.put(index)

    def once(self, phase: str, resume: bool = False) -> int:
        return self._operation(0, phase, 0, 0)

    def run(self, thread: int, load: Load) -> None:
        measured_ns = load.release_ns + load.warmup_ns
        wait_until(load.release_ns)
        if load.arrivals is not None:
            for sequence, offset_ns in enumerate(load.arrival_offsets()):
                intended_ns = load.release_ns + offset_ns
                wait_until(intended_ns)
                if time.monotonic_ns() >= load.give_up_ns:
                    return
                self._operation(thread, "warmup" if intended_ns < measured_ns else "measured", sequence, intended_ns)
            return
        sequence = 0
        while (now := time.monotonic_ns()) < measured_ns + load.duration_ns and not self._stopped.is_set():
            phase = "background" if load.background else "warmup" if now < measured_ns else "measured"
            if self._operation(thread, phase, sequence, 0):
                time.sleep(_PAUSE_AFTER_FAILURE_S)
            sequence += 1

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        with step(drive, "finalize", "teardown"):
            while own_sessions and self._sessions:
                with _as_cryptoki("C_CloseSession"):
                    self._sessions.pop().close()
            if own_context and self._library is not None:
                with _as_cryptoki("C_Finalize"):
                    self._library.finalize()
