"""A thin binding of one PKCS#11 module, for the calls around the timed loops: set-up, provisioning, inspection.

ctypes releases the GIL around each call, and a call costs microseconds: good for set-up, wrong for timing, which is why
the timed loops are C (drive.c) and get only the function list's address from here.

Every failure is a CryptokiError with the function and the CKR code. Nothing here retries, caches or remembers a handle.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from lab.record.names import FUNCTION_NUMBER, ckr_name

ULONG: Final = ctypes.c_ulong
ULONG_SIZE: Final = ctypes.sizeof(ULONG)

CKU_SO, CKU_USER = 0, 1
CKF_RW_SESSION, CKF_SERIAL_SESSION = 0x2, 0x4
CKF_OS_LOCKING_OK: Final = 0x2

_UNAVAILABLE: Final = 2 ** (8 * ULONG_SIZE) - 1  # CK_UNAVAILABLE_INFORMATION

Locking = Literal["os", "none"]


class CryptokiError(Exception):
    """A PKCS#11 function answered something else than CKR_OK."""

    def __init__(self, function: str, ckr: int) -> None:
        super().__init__(f"{function} answered {ckr_name(ckr)}")
        self.function = function
        self.ckr = ckr


class NotAModule(Exception):
    """The file cannot be loaded, or is no PKCS#11 module."""


class _Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte)]


class _FunctionList(ctypes.Structure):
    _fields_ = [("version", _Version), ("functions", ctypes.c_void_p * 68)]


class _InitializeArgs(ctypes.Structure):
    _fields_ = [
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ULONG),
        ("reserved", ctypes.c_char_p),
    ]


class _Info(ctypes.Structure):
    _fields_ = [
        ("cryptoki", _Version),
        ("manufacturer", ctypes.c_char * 32),
        ("flags", ULONG),
        ("description", ctypes.c_char * 32),
        ("module", _Version),
    ]


class _TokenInfo(ctypes.Structure):
    _fields_ = [
        ("label", ctypes.c_char * 32),
        ("manufacturer", ctypes.c_char * 32),
        ("model", ctypes.c_char * 16),
        ("serial", ctypes.c_char * 16),
        ("flags", ULONG),
        ("max_sessions", ULONG),
        ("sessions", ULONG),
        ("max_rw_sessions", ULONG),
        ("rw_sessions", ULONG),
        ("max_pin", ULONG),
        ("min_pin", ULONG),
        ("memory", ULONG * 4),
        ("hardware", _Version),
        ("firmware", _Version),
        ("utc_time", ctypes.c_char * 16),
    ]


class _Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", ULONG), ("parameter", ctypes.c_void_p), ("length", ULONG)]


class _MechanismInfo(ctypes.Structure):
    _fields_ = [("min_key", ULONG), ("max_key", ULONG), ("flags", ULONG)]


class _Attribute(ctypes.Structure):
    _fields_ = [("type", ULONG), ("value", ctypes.c_void_p), ("length", ULONG)]


@dataclass(frozen=True)
class LibraryInfo:
    """C_GetInfo: the module's maker, description and versions as `major.minor`."""

    manufacturer: str
    description: str
    module_version: str
    cryptoki_version: str


@dataclass(frozen=True)
class TokenInfo:
    """C_GetTokenInfo, text fields without their padding. `max_sessions` is None where it is not limited."""

    label: str
    manufacturer: str
    model: str
    serial: str
    flags: int
    max_sessions: int | None
    firmware: str
    sessions: int | None = None  # that this process has open; None where the module does not tell


@dataclass(frozen=True)
class MechanismInfo:
    """C_GetMechanismInfo; key sizes in the unit of the mechanism (bits for RSA and EC)."""

    min_key: int
    max_key: int
    flags: int


AttributeValue = int | bool | bytes | str


def _version(v: _Version) -> str:
    return f"{v.major}.{v.minor}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip(" \0")


def _packed(value: AttributeValue) -> bytes:
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return value.to_bytes(ULONG_SIZE, "little")
    return value.encode() if isinstance(value, str) else value


class _Template:
    """A CK_ATTRIBUTE array that keeps its buffers alive."""

    def __init__(self, attributes: Mapping[int, AttributeValue]) -> None:
        self._buffers = [ctypes.create_string_buffer(p, len(p)) for p in map(_packed, attributes.values())]
        self.array = (_Attribute * len(attributes))(
            *(
                _Attribute(kind, ctypes.cast(buffer, ctypes.c_void_p), len(buffer))
                for kind, buffer in zip(attributes, self._buffers, strict=True)
            )
        )

    def __len__(self) -> int:
        return len(self._buffers)


class Cryptoki:
    """One loaded module. Raises NotAModule where `path` is none, CryptokiError where it refuses its function list."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._library = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL)
        except OSError as error:
            raise NotAModule(str(error)) from None
        try:
            get = self._library.C_GetFunctionList
        except AttributeError:
            raise NotAModule(f"{path} has no function C_GetFunctionList") from None
        get.restype = ULONG
        found = ctypes.POINTER(_FunctionList)()
        ckr = get(ctypes.byref(found))
        if ckr or not found:
            raise CryptokiError("C_GetFunctionList", ckr)
        self._list = found

    @property
    def function_list(self) -> int:
        """Address of the CK_FUNCTION_LIST, for the loops in C."""
        return ctypes.cast(self._list, ctypes.c_void_p).value or 0

    def _call(self, function: str, *arguments: object) -> None:
        pointer = self._list.contents.functions[FUNCTION_NUMBER[function] - 1]
        if not pointer:
            raise CryptokiError(function, 0x54)  # CKR_FUNCTION_NOT_SUPPORTED
        ckr = ctypes.CFUNCTYPE(ULONG)(pointer)(*arguments)
        if ckr:
            raise CryptokiError(function, ckr)

    # the library

    def initialize(self, locking: Locking, init_string: str | None = None) -> None:
        """C_Initialize, with CKF_OS_LOCKING_OK for `os`, with a NULL argument for `none`.

        An init string (NSS) travels in pReserved, which needs the structure: `none` is then one without flags.
        """
        if locking == "none" and init_string is None:
            self._call("C_Initialize", None)
            return
        flags = CKF_OS_LOCKING_OK if locking == "os" else 0
        reserved = None if init_string is None else init_string.encode()
        self._call("C_Initialize", ctypes.byref(_InitializeArgs(None, None, None, None, flags, reserved)))

    def finalize(self) -> None:
        self._call("C_Finalize", None)

    def module_info(self) -> LibraryInfo:
        info = _Info()
        self._call("C_GetInfo", ctypes.byref(info))
        return LibraryInfo(
            _text(info.manufacturer), _text(info.description), _version(info.module), _version(info.cryptoki)
        )

    # slots and tokens

    def slots(self, with_token: bool = True) -> list[int]:
        count = ULONG()
        present = ctypes.c_ubyte(with_token)
        self._call("C_GetSlotList", present, None, ctypes.byref(count))
        slots = (ULONG * max(1, count.value))()
        self._call("C_GetSlotList", present, slots, ctypes.byref(count))
        return list(slots[: count.value])

    def token_info(self, slot: int) -> TokenInfo:
        info = _TokenInfo()
        self._call("C_GetTokenInfo", ULONG(slot), ctypes.byref(info))
        unlimited = (0, _UNAVAILABLE, _UNAVAILABLE - 1)  # CK_EFFECTIVELY_INFINITE, no information, openCryptoki's own
        return TokenInfo(
            _text(info.label),
            _text(info.manufacturer),
            _text(info.model),
            _text(info.serial),
            info.flags,
            None if info.max_sessions in unlimited else info.max_sessions,
            _version(info.firmware),
            None if info.sessions == _UNAVAILABLE else info.sessions,
        )

    def find_token(self, label: str) -> int | None:
        """Slot of the first token with this label, or None. A slot whose token vanishes is passed over."""
        for slot in self.slots():
            try:
                if self.token_info(slot).label == label:
                    return slot
            except CryptokiError:
                continue
        return None

    def mechanism_info(self, slot: int, mechanism: int) -> MechanismInfo:
        info = _MechanismInfo()
        self._call("C_GetMechanismInfo", ULONG(slot), ULONG(mechanism), ctypes.byref(info))
        return MechanismInfo(info.min_key, info.max_key, info.flags)

    def init_token(self, slot: int, so_pin: str, label: str) -> None:
        pin = so_pin.encode()
        self._call("C_InitToken", ULONG(slot), pin, ULONG(len(pin)), label.encode().ljust(32))

    def init_pin(self, session: int, pin: str) -> None:
        raw = pin.encode()
        self._call("C_InitPIN", ULONG(session), raw, ULONG(len(raw)))

    def set_pin(self, session: int, old: str, new: str) -> None:
        """C_SetPIN, of whoever is logged in."""
        raw = old.encode(), new.encode()
        self._call("C_SetPIN", ULONG(session), raw[0], ULONG(len(raw[0])), raw[1], ULONG(len(raw[1])))

    # sessions

    def open_session(self, slot: int, read_write: bool = False) -> int:
        session = ULONG()
        flags = CKF_SERIAL_SESSION | (CKF_RW_SESSION if read_write else 0)
        self._call("C_OpenSession", ULONG(slot), ULONG(flags), None, None, ctypes.byref(session))
        return session.value

    def close_session(self, session: int) -> None:
        self._call("C_CloseSession", ULONG(session))

    def login(self, session: int, pin: str, user: int = CKU_USER) -> None:
        raw = pin.encode()
        self._call("C_Login", ULONG(session), ULONG(user), raw, ULONG(len(raw)))

    def logout(self, session: int) -> None:
        self._call("C_Logout", ULONG(session))

    # objects

    def find_objects(self, session: int, template: Mapping[int, AttributeValue], most: int = 16) -> list[int]:
        """Handles of at most `most` objects that match. One C_FindObjects call."""
        wanted = _Template(template)
        self._call("C_FindObjectsInit", ULONG(session), wanted.array, ULONG(len(wanted)))
        found = (ULONG * most)()
        count = ULONG()
        self._call("C_FindObjects", ULONG(session), found, ULONG(most), ctypes.byref(count))
        self._call("C_FindObjectsFinal", ULONG(session))
        return list(found[: count.value])

    def attribute(self, session: int, obj: int, kind: int) -> bytes:
        """Value of one attribute as the module gives it."""
        one = (_Attribute * 1)(_Attribute(kind, None, 0))
        self._call("C_GetAttributeValue", ULONG(session), ULONG(obj), one, ULONG(1))
        buffer = ctypes.create_string_buffer(max(1, one[0].length))
        one[0].value = ctypes.cast(buffer, ctypes.c_void_p)
        self._call("C_GetAttributeValue", ULONG(session), ULONG(obj), one, ULONG(1))
        return buffer.raw[: one[0].length]

    def generate_key_pair(
        self,
        session: int,
        mechanism: int,
        public: Mapping[int, AttributeValue],
        private: Mapping[int, AttributeValue],
    ) -> tuple[int, int]:
        """Handles of the public and the private key."""
        how = _Mechanism(mechanism, None, 0)
        for_public, for_private = _Template(public), _Template(private)
        handles = ULONG(), ULONG()
        self._call(
            "C_GenerateKeyPair",
            ULONG(session),
            ctypes.byref(how),
            for_public.array,
            ULONG(len(for_public)),
            for_private.array,
            ULONG(len(for_private)),
            ctypes.byref(handles[0]),
            ctypes.byref(handles[1]),
        )
        return handles[0].value, handles[1].value

    def create_object(self, session: int, template: Mapping[int, AttributeValue]) -> int:
        """C_CreateObject; the new object's handle."""
        wanted = _Template(template)
        made = ULONG()
        self._call("C_CreateObject", ULONG(session), wanted.array, ULONG(len(wanted)), ctypes.byref(made))
        return made.value

    def destroy_object(self, session: int, obj: int) -> None:
        self._call("C_DestroyObject", ULONG(session), ULONG(obj))

    def sign_init(self, session: int, mechanism: int, key: int, parameter: Sequence[int] = ()) -> None:
        """C_SignInit; `parameter` is a sequence of CK_ULONG (hash, MGF and salt length for RSA-PSS)."""
        values = (ULONG * len(parameter))(*parameter) if parameter else None
        how = _Mechanism(
            mechanism, ctypes.cast(values, ctypes.c_void_p) if values else None, ULONG_SIZE * len(parameter)
        )
        self._call("C_SignInit", ULONG(session), ctypes.byref(how), ULONG(key))

    def sign(self, session: int, data: bytes, most: int = 1024) -> bytes:
        """C_Sign into a buffer of `most` bytes."""
        buffer = ctypes.create_string_buffer(most)
        length = ULONG(most)
        self._call("C_Sign", ULONG(session), data, ULONG(len(data)), buffer, ctypes.byref(length))
        return buffer.raw[: length.value]
