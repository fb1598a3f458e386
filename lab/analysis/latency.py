"""Response, service and lag of the measured operations that ended well, and how late the generator was.

response = ended - intended, service = ended - started, lag = started - intended.

`lag` counts the wait behind the previous operation of the same thread too: that is the server's queue, and it belongs
in the response. The generator's own lateness (`generator_lag`) is the lag of those operations that had nothing to
wait for, that is, whose intended time was not before the end of their thread's previous operation. A busy server can
make the first as large as it likes; only the second says that the lab offered its load late.

In a closed loop the intended time is the start, so response and lag would say nothing that service does not: they are
empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.analysis.quantiles import Distribution, distribution, merged
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import PHASE

_FAR_PAST = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Latency:
    """Distributions in ns over measured operations with outcome ok."""

    response: Distribution = field(default_factory=Distribution)
    service: Distribution = field(default_factory=Distribution)
    lag: Distribution = field(default_factory=Distribution)
    generator_lag: Distribution = field(default_factory=Distribution)


def of_process(operations: Table, open_loop: bool) -> Latency:
    """From the operation rows of one process."""
    chosen: Any = (operations["phase"] == PHASE["measured"]) & (operations["outcome"] == columns.OK)
    if bool(chosen.all()):
        chosen = slice(None)
    started = operations["started_ns"][chosen]
    ended = operations["ended_ns"][chosen]
    service = distribution(ended - started)
    if not open_loop:
        return Latency(service=service)
    intended = operations["intended_ns"][chosen]
    lag = started - intended
    return Latency(
        response=distribution(ended - intended),
        service=service,
        lag=distribution(lag),
        generator_lag=distribution(lag[intended >= _previous_end(operations)[chosen]]),
    )


def together(parts: list[Latency]) -> Latency:
    """All operations of all parts."""
    return Latency(
        response=merged(part.response for part in parts),
        service=merged(part.service for part in parts),
        lag=merged(part.lag for part in parts),
        generator_lag=merged(part.generator_lag for part in parts),
    )


def _previous_end(operations: Table) -> NDArray[np.int64]:
    """For each row, when the same thread's previous row ended; the far past for a thread's first."""
    thread = operations["thread"]
    ended = operations["ended_ns"]
    previous = np.empty(ended.size, dtype=np.int64)
    if not ended.size:
        return previous
    previous[0] = _FAR_PAST
    if bool((thread == thread[0]).all()):
        previous[1:] = ended[:-1]
        return previous
    order = np.argsort(thread, kind="stable")  # within a thread, rows are in the order in which it did them
    in_order = ended[order]
    before = np.empty_like(previous)
    before[0] = _FAR_PAST
    before[1:] = in_order[:-1]
    grouped = thread[order]
    before[1:][grouped[1:] != grouped[:-1]] = _FAR_PAST
    previous[order] = before
    return previous
