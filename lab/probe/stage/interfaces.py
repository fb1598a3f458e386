"""What a library says of itself before it is initialised: the version of its function list, and its interfaces."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from lab.native.cryptoki import ULONG, CryptokiError

GET_INTERFACE_LIST = "C_GetInterfaceList"


class _Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte)]

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class _Interface(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("functions", ctypes.POINTER(_Version)), ("flags", ULONG)]


@dataclass(frozen=True)
class Interface:
    """One of C_GetInterfaceList: its name (`PKCS 11`), the version of its function list, its flags."""

    name: str
    version: str
    flags: int


def function_list_version(address: int) -> str:
    """Of a CK_FUNCTION_LIST, as `major.minor`: it begins with its version."""
    return str(_Version.from_address(address))


def interfaces(path: Path) -> list[Interface] | None:
    """Those of a library that is loaded already. None where it exports no C_GetInterfaceList: it is older than v3.0.

    Raises CryptokiError.
    """
    try:
        get = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL).C_GetInterfaceList
    except AttributeError:
        return None
    get.restype = ULONG
    count = ULONG()
    if ckr := get(None, ctypes.byref(count)):
        raise CryptokiError(GET_INTERFACE_LIST, ckr)
    found = (_Interface * max(1, count.value))()
    if ckr := get(found, ctypes.byref(count)):
        raise CryptokiError(GET_INTERFACE_LIST, ckr)
    return [
        Interface((each.name or b"").decode("utf-8", "replace"), str(each.functions.contents), each.flags)
        for each in found[: count.value]
    ]
