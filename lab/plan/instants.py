"""When the operations of an open-loop trial are due, drawn before it starts.

Times that do not depend on the answers are what keeps a stalled server from hiding its queue (coordinated omission:
Tene, How NOT to Measure Latency, 2013; Schroeder et al., Open Versus Closed, NSDI 2006).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lab.plan.streams import ARRIVALS, stream
from lab.scenario import Arm

NS_PER_S = 1_000_000_000


def arrivals(arm: Arm, seed: int, block: int) -> tuple[NDArray[np.int64], ...]:
    """Sorted instants for each who begins operations, in ns after the release, over warm-up and measured time.

    That is a worker thread, or, for handshakes, a generator. The array of thread t (from 0) of worker process p (from
    1) is number (p - 1) * threads + t; generators count from 0. `seed` is the scenario's. The arm's name is not looked
    at: arms of a block with one load and one number of threads or generators get identical arrays, so that paired
    comparisons are of the same arrivals, whatever the servers of handshakes look like. Empty tuple for a closed loop.
    """
    load = arm.load
    if load.mode == "closed":
        return ()
    assert load.rate_hz is not None  # resolved
    streams, length_s = arm.streams, load.warmup_s + load.duration_s
    if load.arrivals == "paced":
        due = _paced(load.rate_hz, length_s)
        return tuple(due[first::streams].copy() for first in range(streams))
    generator = np.random.Generator(np.random.PCG64(stream(seed, ARRIVALS, block)))
    due = _poisson(generator, load.rate_hz, length_s)
    return _dealt(due, generator.integers(streams, size=len(due), dtype=np.uint16), streams)


def _paced(rate_hz: float, length_s: float) -> NDArray[np.int64]:
    count = math.ceil(rate_hz * length_s - 1e-6)  # all k with k / rate < length; 0.1 + 0.2 must not make one more
    due: NDArray[np.int64] = np.rint(np.arange(count) * (NS_PER_S / rate_hz)).astype(np.int64)
    return due


def _poisson(generator: np.random.Generator, rate_hz: float, length_s: float) -> NDArray[np.int64]:
    """A Poisson process on [0, length): a Poisson number of independent uniform instants, sorted."""
    count = generator.poisson(rate_hz * length_s)
    return np.sort(generator.integers(round(length_s * NS_PER_S), size=count, dtype=np.int64))


def _dealt(due: NDArray[np.int64], stream_of: NDArray[np.uint16], streams: int) -> tuple[NDArray[np.int64], ...]:
    """Split sorted instants by stream; each part stays sorted, because the sort by stream is stable."""
    counts = np.bincount(stream_of, minlength=streams)
    return tuple(np.split(due[np.argsort(stream_of, kind="stable")], np.cumsum(counts)[:-1]))
