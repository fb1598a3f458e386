"""The binding of a module with the calls that only stages make."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.native.cryptoki import ULONG, Cryptoki

CKO_DATA, CKO_PRIVATE_KEY = 0x0, 0x3
CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_VALUE = 0x0, 0x1, 0x2, 0x3, 0x11
CKM_SHA256: Final = 0x250
CKS_RO_PUBLIC, CKS_RO_USER, CKS_RW_PUBLIC, CKS_RW_USER = 0, 1, 2, 3
_SHA256_BYTES: Final = 32


class _SessionInfo(ctypes.Structure):
    _fields_ = [("slot", ULONG), ("state", ULONG), ("flags", ULONG), ("device_error", ULONG)]


class _Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", ULONG), ("parameter", ctypes.c_void_p), ("length", ULONG)]


@dataclass(frozen=True)
class SessionInfo:
    """C_GetSessionInfo."""

    slot: int
    state: int

    @property
    def logged_in(self) -> bool:
        """As a user."""
        return self.state in (CKS_RO_USER, CKS_RW_USER)


class Module(Cryptoki):
    """One loaded module. Failures are as in Cryptoki."""

    def __init__(self, path: Path, read_write: bool = False) -> None:
        """read_write: all sessions are, for the modules that open no others."""
        super().__init__(path)
        self._read_write = read_write

    def open_session(self, slot: int, read_write: bool = False) -> int:
        return super().open_session(slot, read_write or self._read_write)

    def session_info(self, session: int) -> SessionInfo:
        info = _SessionInfo()
        self._call("C_GetSessionInfo", ULONG(session), ctypes.byref(info))
        return SessionInfo(info.slot, info.state)

    def close_all_sessions(self, slot: int) -> None:
        self._call("C_CloseAllSessions", ULONG(slot))

    def random(self, session: int, length: int) -> bytes:
        """C_GenerateRandom."""
        buffer = ctypes.create_string_buffer(length)
        self._call("C_GenerateRandom", ULONG(session), buffer, ULONG(length))
        return buffer.raw

    def digest_init(self, session: int, mechanism: int = CKM_SHA256) -> None:
        how = _Mechanism(mechanism, None, 0)
        self._call("C_DigestInit", ULONG(session), ctypes.byref(how))

    def digest(self, session: int, data: bytes) -> bytes:
        """C_Digest, of an operation with SHA-256."""
        buffer = ctypes.create_string_buffer(_SHA256_BYTES)
        length = ULONG(_SHA256_BYTES)
        self._call("C_Digest", ULONG(session), data, ULONG(len(data)), buffer, ctypes.byref(length))
        return buffer.raw[: length.value]
