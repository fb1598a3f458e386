"""The instants of an open loop, which the coordinator wrote down for all processes of the trial."""

from __future__ import annotations

import mmap
from pathlib import Path

from lab.record.order import ARRIVALS, TrialOrder


def arrivals_of(order: TrialOrder) -> memoryview:
    """All of them, int64. What is given out as their addresses is good as long as this is held."""
    if not sum(order.arrivals):
        return memoryview(bytearray())
    with open(Path(order.folder) / ARRIVALS, "rb") as file:
        # A private, writable mapping, because ctypes takes addresses of writable buffers only; nobody writes to it.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
