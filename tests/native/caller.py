"""A PKCS#11 caller that knows nothing but functions.def: any function, by its place in the list or by its symbol."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.record.names import FUNCTION_NUMBER
from tests.native.build import SOURCES

BUFFER_BYTES: Final = 4096
FIRST_NUMBER: Final = 101
ECDSA: Final = 0x1041
_DEFINITION: Final = (SOURCES / "functions.def").read_text()


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte)]


class Interface(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("list", ctypes.c_void_p), ("flags", ctypes.c_ulong)]


def parameters(function: str) -> list[tuple[str, bool]]:
    """Name of each parameter, and whether it is a pointer to something that the test must provide."""
    found = re.search(rf"^FUNCTION3?\({function},\s*\(([^)]*)\)", _DEFINITION, re.MULTILINE)
    assert found
    return [(re.split(r"[\s*]+", one.strip())[-1], "*" in one or "_PTR" in one) for one in found[1].split(",")]


@dataclass(frozen=True)
class Called:
    """One call with arguments made up here: buffers for pointers, numbers from FIRST_NUMBER for the rest."""

    ckr: int
    numbers: dict[str, int]
    buffers: dict[str, bytes]

    def returned(self, name: str) -> int:
        return int.from_bytes(self.buffers[name][:8], "little")


class Module:
    """A module by path, through its function list."""

    def __init__(self, path: Path | str) -> None:
        self.loaded = ctypes.CDLL(str(path))
        self.list = ctypes.c_void_p()
        self.answer = self.loaded.C_GetFunctionList(ctypes.byref(self.list))

    def address(self, function: str, of_list: int | None = None) -> int:
        start = of_list or self.list.value
        assert start
        return ctypes.cast(start, ctypes.POINTER(ctypes.c_void_p))[FUNCTION_NUMBER[function]] or 0

    def call(self, function: str, *arguments: object, of_list: int | None = None) -> int:
        """Calls with ctypes arguments; plain integers are passed as CK_ULONG, None as NULL."""
        entry = ctypes.CFUNCTYPE(ctypes.c_ulong)(self.address(function, of_list))
        return int(entry(*(ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments)))

    def call_once(self, function: str, of_list: int | None = None) -> Called:
        numbers: dict[str, int] = {}
        buffers: dict[str, ctypes.Array[ctypes.c_char]] = {}
        arguments: list[object] = []
        for place, (name, is_pointer) in enumerate(parameters(function)):
            if is_pointer:
                buffers[name] = ctypes.create_string_buffer(BUFFER_BYTES)
                if name == "mechanism":
                    ctypes.c_ulong.from_buffer(buffers[name]).value = ECDSA
                arguments.append(buffers[name])
            else:
                numbers[name] = FIRST_NUMBER + place
                arguments.append(numbers[name])
        ckr = self.call(function, *arguments, of_list=of_list)
        return Called(ckr, numbers, {name: buffer.raw for name, buffer in buffers.items()})


class Fake:
    """The state of the fake module, which the tap has mapped too."""

    def __init__(self, path: Path | str) -> None:
        self.loaded = ctypes.CDLL(str(path))

    def answer(self, ckr: int) -> None:
        ctypes.c_ulong.in_dll(self.loaded, "fake_rv").value = ckr

    def calls(self, function: str) -> int:
        table = (ctypes.c_ulong * 93).in_dll(self.loaded, "fake_calls")
        return int(table[FUNCTION_NUMBER[function]])

    def initialize_args(self) -> tuple[int, int, int]:
        """Whether callbacks were given (0 or 1), flags, pReserved, as the last C_Initialize got them."""
        table = (ctypes.c_ulong * 6).in_dll(self.loaded, "fake_initialize_args")
        return int(any(table[:4])), int(table[4]), int(table[5])
