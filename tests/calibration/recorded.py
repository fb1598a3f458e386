"""Operations of made-up trials, with every column that calibration reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.analysis.queueing import waits_ns
from lab.record.columns import OK, OPERATIONS, RIGHT, Table
from lab.record.dtypes import KIND, PHASE

Ns = NDArray[np.int64]


def operations(intended: Ns, started: Ns, ended: Ns, thread: Any = 0, **columns: Any) -> Table:
    """Measured signatures that ended well; of each other column one value, or one for each row."""
    size = intended.size
    given = {
        "process": 1,
        "thread": thread,
        "kind": KIND["sign"],
        "phase": PHASE["measured"],
        "outcome": OK,
        "verified": RIGHT,
        "sequence": np.arange(size),
        "intended_ns": intended,
        "started_ns": started,
        "ended_ns": ended,
        **columns,
    }
    return {name: np.broadcast_to(given.get(name, 0), size).astype(dtype) for name, dtype in OPERATIONS.items()}


def played(due: Ns, service: Ns, late_ns: int = 0, thread: Any = 0) -> Table:
    """What an open loop records of a queue; each operation is begun `late_ns` after it could have been."""
    started = due + waits_ns(due, service + late_ns) + late_ns
    return operations(due, started, started + service, thread)


def poisson(seed: int, size: int, gap_ns: int) -> Ns:
    return np.cumsum(np.random.default_rng(seed).exponential(gap_ns, size)).astype(np.int64)
