"""Python's side of the sleeper (sleeper.c): how late a thread is woken that sleeps a millisecond again and again."""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lab.native import library

CAPACITY: Final = 1 << 23
"""Sleeps that are noted: more than the longest load has, an hour after a warm-up of one. Memory is taken as needed."""


@cache
def _run() -> ctypes._NamedFuncPointer:
    run = ctypes.CDLL(str(library("sleeper"))).sleeper_run
    run.restype, run.argtypes = ctypes.c_int64, [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    return run


class Sleeper:
    """A thread that sleeps, and holds no GIL; from its making to stop()."""

    def __init__(self) -> None:
        self._late_ns = np.zeros(CAPACITY, np.int64)
        self._stop = ctypes.c_int32(0)
        self._noted = 0
        self._thread = threading.Thread(target=self._sleep, name="sleeper", daemon=True)
        self._thread.start()

    def stop(self) -> NDArray[np.int64]:
        """Ends it; returns by how many ns more than a millisecond each sleep was too long."""
        self._stop.value = 1
        self._thread.join()
        return self._late_ns[: self._noted]

    def _sleep(self) -> None:
        self._noted = int(_run()(self._late_ns.ctypes.data, CAPACITY, ctypes.addressof(self._stop)))
