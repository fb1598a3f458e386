"""The load of a trial as queues: one for each thread of each process, whose only server it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import PHASE

_Ns = NDArray[np.int64]


@dataclass(frozen=True)
class Queue:
    """One thread's operations of warm-up and measured time, in the order of their arrivals, ns."""

    intended: _Ns
    started: _Ns
    ended: _Ns
    measured: NDArray[np.bool_]

    @property
    def wait(self) -> _Ns:
        """Response less service."""
        return (self.ended - self.intended) - (self.ended - self.started)

    @property
    def service(self) -> _Ns:
        return self.ended - self.started


def queues(operations: Table) -> Iterator[Queue]:
    """Every queue of a trial. Raises ValueError where an operation did not end well: then nothing follows from it."""
    phase = operations["phase"]
    load: Any = (phase == PHASE["warmup"]) | (phase == PHASE["measured"])
    if (operations["outcome"][load] != columns.OK).any():
        raise ValueError("not every operation ended well")
    names = ("process", "thread", "sequence", "phase", "intended_ns", "started_ns", "ended_ns")
    process, thread, sequence, phase, intended, started, ended = (operations[name][load] for name in names)
    whose = process.astype(np.int64) << 16 | thread
    for one in np.unique(whose):
        of = np.flatnonzero(whose == one)
        of = of[np.argsort(sequence[of], kind="stable")]
        yield Queue(intended[of], started[of], ended[of], phase[of] == PHASE["measured"])
