"""What a test of the loops needs: a fake module of its own, a Drive, and what they leave."""

from __future__ import annotations

import ctypes
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lab.native.loops import SESSION_OWN, Drive, Load, Work, addresses
from lab.record.dtypes import OPERATION
from lab.record.names import FUNCTION_NUMBER
from lab.record.rowfile import RowFile, read_outputs, read_rows

SECOND_NS: Final = 1_000_000_000
FOREVER_NS: Final = 2**62
FUNCTIONS_IN_FAKE: Final = 93
Hook = ctypes.CFUNCTYPE(None, ctypes.c_int)


class FakeModule:
    """A mapping of the fake module that no other test shares."""

    def __init__(self, built: Path, folder: Path) -> None:
        self._library = ctypes.CDLL(shutil.copy(built, folder / "fake.so"))
        functions = ctypes.c_void_p()
        assert self._library.C_GetFunctionList(ctypes.byref(functions)) == 0
        self.function_list = int(functions.value or 0)
        self._hook: object = None

    def number(self, name: str) -> int:
        return ctypes.c_int.in_dll(self._library, f"fake_{name}").value

    def set(self, name: str, value: int) -> None:
        ctypes.c_int.in_dll(self._library, f"fake_{name}").value = value

    def answer(self, function: str, ckr: int) -> None:
        table = (ctypes.c_ulong * FUNCTIONS_IN_FAKE).in_dll(self._library, "fake_answers")
        table[FUNCTION_NUMBER[function]] = ckr

    def calls(self, function: str) -> int:
        table = (ctypes.c_ulong * FUNCTIONS_IN_FAKE).in_dll(self._library, "fake_calls")
        return int(table[FUNCTION_NUMBER[function]])

    def on(self, function: str, do: Callable[[], None]) -> None:
        """Calls `do` in every call of the function, before it answers."""
        wanted = FUNCTION_NUMBER[function]
        self._hook = Hook(lambda number: do() if number == wanted else None)
        ctypes.c_void_p.in_dll(self._library, "fake_hook").value = ctypes.cast(self._hook, ctypes.c_void_p).value


@dataclass(frozen=True)
class Player:
    """One process's drive in front of a fake module."""

    folder: Path
    drive: Drive
    module: FakeModule

    def sign(self, **changes: object) -> Work:
        """The work of a signature on session 1, with changes; given to the drive."""
        work = Work("sign", self.module.function_list, sessions=(1,), session_use=SESSION_OWN, key=7, mechanism=0x1041)
        work = replace(work, **changes)  # type: ignore[arg-type]
        self.drive.set(work)
        return work

    def file(self) -> RowFile:
        file = read_rows(self.folder / f"operations-{self.drive.process}.rows", OPERATION)
        assert file is not None
        return file

    def rows(self) -> npt.NDArray[np.void]:
        return self.file().rows

    def outputs(self) -> npt.NDArray[np.uint8]:
        outputs = read_outputs(self.folder / f"outputs-{self.drive.process}.rows")
        assert outputs is not None
        return outputs

    def open_loop(self, arrivals: Sequence[int], threads: int = 1, **changes: object) -> list[int]:
        """Every thread runs these arrivals, in ns after the release; returns what each began."""
        offsets = memoryview(bytearray(np.tile(np.array(arrivals, "<i8"), threads).tobytes()))
        parts = addresses(offsets, [len(arrivals)] * threads)
        return self._run([replace(load(**changes), arrivals=part) for part in parts])

    def closed_loop(self, duration_ns: int, threads: int = 1, **changes: object) -> list[int]:
        return self._run([replace(load(**changes), duration_ns=duration_ns)] * threads)

    def _run(self, loads: list[Load]) -> list[int]:
        begun = [0] * len(loads)

        def run(thread: int) -> None:
            begun[thread] = self.drive.run(thread, loads[thread])

        running = [threading.Thread(target=run, args=(thread,)) for thread in range(len(loads))]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        return begun


def load(**changes: object) -> Load:
    """A load that is released now, has no warm-up and waits for ever."""
    now = Load(release_ns=time.monotonic_ns(), warmup_ns=0, duration_ns=0, give_up_ns=FOREVER_NS)
    return replace(now, **changes)  # type: ignore[arg-type]
