"""One process's initialised PKCS#11 library: its sessions and its keys. Set up through ctypes, every step a row."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.native.cryptoki import AttributeValue, Cryptoki, CryptokiError
from lab.native.loops import SESSION_OWN, SESSION_PER_OPERATION, SESSION_POOL, Drive
from lab.record.order import ContextOrder, TokenOrder
from lab.worker.steps import (
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_KEY_HANDLE_INVALID,
    CKR_TOKEN_NOT_PRESENT,
    CKR_USER_ALREADY_LOGGED_IN,
    SetUpFailed,
    step,
)

CKO_PRIVATE_KEY = 3
CKA_CLASS, CKA_LABEL = 0x0, 0x3
SESSION_USE: Final = {
    "per-thread": SESSION_OWN,
    "per-process": SESSION_POOL,  # a pool of one: its lock is the lock
    "pool": SESSION_POOL,
    "per-operation": SESSION_PER_OPERATION,
}


def session_count(context: ContextOrder, threads: int) -> int:
    """Sessions that a process keeps open: a login lasts while one is, so per-operation keeps one too."""
    return {"per-thread": threads, "per-process": 1, "pool": context.pool_size, "per-operation": 1}[context.session]


class Pkcs11:
    """The library as the lab itself initialises it. After a fork, the child has its parent's, until it changes it.

    sessions, keys: handles, in the order of threads and of `labels`. All methods raise SetUpFailed.
    """

    def __init__(self, token: TokenOrder, policy: ContextOrder, labels: tuple[str, ...]) -> None:
        self._token, self._policy, self._labels = token, policy, labels
        self._cryptoki: Cryptoki | None = None
        self._initialized = False
        self.slot = 0
        self.sessions: list[int] = []
        self.keys: list[int] = []

    @property
    def module(self) -> Cryptoki:
        if self._cryptoki is None:
            raise SetUpFailed("C_Initialize", CKR_CRYPTOKI_NOT_INITIALIZED)
        return self._cryptoki

    def make(self, drive: Drive, threads: int) -> None:
        """Loads, initialises, logs in, opens sessions for `threads` threads, finds the keys."""
        with step(drive, "load"):
            self._cryptoki = Cryptoki(Path(self._token.module))
        self._initialize(drive, threads)

    def reopen(self, drive: Drive, threads: int) -> None:
        """Opens sessions of its own in the inherited context, and finds the keys again."""
        self._open(drive, threads, login=False)

    def reload(self, drive: Drive, threads: int) -> None:
        """C_Finalize, C_Initialize and all that follows."""
        self.sessions, self._initialized = [], False
        with step(drive, "finalize"):
            try:
                self.module.finalize()
            except CryptokiError as error:
                if error.ckr != CKR_CRYPTOKI_NOT_INITIALIZED:  # a module that noticed the fork has nothing to finalise
                    raise
        self._initialize(drive, threads)

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        """Closes what this process opened itself."""
        with step(drive, "finalize", "teardown"):
            if own_sessions:
                while self.sessions:
                    self.module.close_session(self.sessions.pop())
            if own_context and self._initialized:
                self._initialized = False
                self.module.finalize()

    def _initialize(self, drive: Drive, threads: int) -> None:
        self.sessions = []
        with step(drive, "initialize"):
            self.module.initialize(self._policy.locking, self._token.init_string)
        self._initialized = True
        with step(drive, "find_token"):
            slot = self.module.find_token(self._token.token_label)
            if slot is None:
                raise SetUpFailed("C_GetSlotList", CKR_TOKEN_NOT_PRESENT)
            self.slot = slot
        self._open(drive, threads, login=True)

    def _open(self, drive: Drive, threads: int, login: bool) -> None:
        self.sessions, self.keys = [], []
        with step(drive, "open_session"):
            self.sessions.append(self.module.open_session(self.slot))
        if login:
            with step(drive, "login"):
                self._log_in()
        for _ in range(session_count(self._policy, threads) - 1):
            with step(drive, "open_session"):
                self.sessions.append(self.module.open_session(self.slot))
        for host, label in enumerate(self._labels):
            with step(drive, "find_key", vhost=host):
                wanted: dict[int, AttributeValue] = {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: label}
                found = self.module.find_objects(self.sessions[0], wanted, most=1)
                if not found:
                    raise SetUpFailed("C_FindObjects", CKR_KEY_HANDLE_INVALID)
                self.keys.append(found[0])

    def _log_in(self) -> None:
        """The owner of a broker's token is one application: whom it says to be logged in already has what was asked."""
        try:
            self.module.login(self.sessions[0], self._token.pin)
        except CryptokiError as error:
            if self._policy.policy != "broker" or error.ckr != CKR_USER_ALREADY_LOGGED_IN:
                raise
