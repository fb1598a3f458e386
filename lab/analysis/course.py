"""The course of a trial: its measured operations in time, in about nine bytes each.

The measured time is cut into 256 equal slices. What is kept of an operation is the slice in which it was due, its
service time and, in an open loop, its response time. That is enough for what depends on the order in time: how much
operations resemble their neighbours (bootstrap.py), and whether a trial had warmed up (warmup.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import PHASE
from lab.record.model import TrialRecord

SLICES: Final = 256
MOST: Final = 1 << 16
"""Operations that are kept of one process; of one with more, every second, third and so on."""


def _nothing() -> NDArray[np.integer[Any]]:
    return np.empty(0, "u4")


@dataclass(frozen=True)
class Course:
    """Measured operations that ended well, in no order within a slice.

    slices: of each the slice in which it was due, service_ns and response_ns: what it took (response: empty in a closed
    loop). done: of each slice, how many operations of the load ended well in it, whenever they were due.
    """

    slices: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    service_ns: NDArray[np.integer[Any]] = field(default_factory=_nothing)
    response_ns: NDArray[np.integer[Any]] = field(default_factory=_nothing)
    done: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SLICES, np.int64))


def of_process(record: TrialRecord, operations: Table) -> Course:
    """From the operation rows of one process. Empty where the trial was never released.

    In an open loop above capacity the backlog is worked off long after the measured time, which is no throughput: what
    counts as done ended between the end of the warm-up and the end of the measured time.
    """
    if record.released_ns is None or record.duration_ns <= 0:
        return Course()
    begin_ns = record.released_ns + record.warmup_ns
    well = operations["outcome"] == columns.OK
    phase, ended_ns = operations["phase"], operations["ended_ns"]
    load = (phase == PHASE["warmup"]) | (phase == PHASE["measured"])
    in_time = load & well & (ended_ns >= begin_ns) & (ended_ns < begin_ns + record.duration_ns)
    done = np.bincount(_slices(ended_ns[in_time] - begin_ns, record.duration_ns), minlength=SLICES)
    measured = np.flatnonzero((phase == PHASE["measured"]) & well)
    measured = measured[:: -(-measured.size // MOST) or 1]
    started, ended = operations["started_ns"][measured], ended_ns[measured]
    intended = operations["intended_ns"][measured] if record.open_loop else started
    return Course(
        slices=_slices(intended - begin_ns, record.duration_ns),
        service_ns=_small(ended - started),
        response_ns=_small(ended - intended) if record.open_loop else _nothing(),
        done=done,
    )


def together(parts: Iterable[Course]) -> Course:
    """All operations of all parts."""
    every = list(parts) or [Course()]
    return Course(
        slices=np.concatenate([part.slices for part in every]),
        service_ns=np.concatenate([part.service_ns for part in every]),
        response_ns=np.concatenate([part.response_ns for part in every]),
        done=np.sum([part.done for part in every], axis=0),
    )


def _slices(since_ns: NDArray[np.int64], duration_ns: int) -> NDArray[np.uint8]:
    """The slice of each instant; one outside of the measured time counts with the slice that is next to it."""
    slice_ns = max(1, -(-duration_ns // SLICES))
    return np.clip(since_ns // slice_ns, 0, SLICES - 1).astype(np.uint8)


def _small(durations_ns: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
    """In 4 bytes each where all fit (0 to 4.29 s)."""
    fits = not durations_ns.size or (durations_ns.min() >= 0 and durations_ns.max() < 2**32)
    return durations_ns.astype(np.uint32) if fits else durations_ns
