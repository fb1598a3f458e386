"""Quantiles of durations: exact, from counted values, and only above their floors.

A quantile is an order statistic (numpy calls it "inverted_cdf"), so it is a duration that was measured. Its floor is
the smallest number of operations for which an order statistic exists that is, with 95 % confidence, not below the
quantile: 1 - p^n >= 0.95 (David and Nagaraja, Order Statistics, 3rd edition, 7.1). That is 29 operations for p90, 299
for p99 and 2,995 for p99.9. The median is given from one operation on: it claims nothing about a tail.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.unsignedinteger[Any]]

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
FLOORS: Final = {"p50": 1, "p90": 29, "p99": 299, "p99.9": 2995}

_NS_PER_MS: Final = 1e6


@dataclass(frozen=True)
class Distribution:
    """Durations in ns as distinct values, ascending, with their counts. Nothing is rounded; merging loses nothing."""

    values_ns: NDArray[np.integer[Any]] = field(default_factory=lambda: np.empty(0, "u4"))
    counts: Counts = field(default_factory=lambda: np.empty(0, "u4"))

    @property
    def total(self) -> int:
        return int(self.counts.sum(dtype=np.int64))

    @property
    def mean_ms(self) -> float | None:
        """The mean in ms; None of no values."""
        if not self.values_ns.size:
            return None
        return int(self.values_ns.astype(np.int64) @ self.counts.astype(np.int64)) / self.total / _NS_PER_MS

    def quantile_ns(self, p: float) -> int | None:
        """The smallest value that at least p of all do not exceed; None of no values."""
        if not self.values_ns.size:
            return None
        reached = np.cumsum(self.counts, dtype=np.int64)
        rank = max(1, math.ceil(p * int(reached[-1]) - 1e-9))
        return int(self.values_ns[np.searchsorted(reached, rank)])


def distribution(durations_ns: NDArray[np.integer[Any]]) -> Distribution:
    """Counts the values of any 1-d integer array. 4 bytes a value where all fit (0 to 4.29 s), 8 otherwise."""
    if not durations_ns.size:
        return Distribution()
    small = durations_ns.min() >= 0 and durations_ns.max() < 2**32
    return _counted(np.sort(durations_ns.astype("u4" if small else "i8")))


def merged(parts: Iterable[Distribution]) -> Distribution:
    """The distribution of all values of all parts."""
    filled = [part for part in parts if part.values_ns.size]
    if len(filled) < 2:
        return filled[0] if filled else Distribution()
    kind = np.result_type(*(part.values_ns for part in filled))
    values = np.concatenate([part.values_ns.astype(kind, copy=False) for part in filled])
    counts = np.concatenate([part.counts for part in filled])
    if counts.max() == 1:
        return _counted(np.sort(values))
    order = np.argsort(values, kind="stable")
    values = values[order]
    firsts = _firsts(values)
    return Distribution(values[firsts], np.add.reduceat(counts[order], firsts, dtype=np.uint64).astype("u4"))


def in_ms(part: Distribution, names: Iterable[str] = QUANTILES, largest: bool = True) -> dict[str, float | None]:
    """Quantiles by name, in ms, None below the floor; with `largest`, also `max`."""
    total = part.total
    figures: dict[str, float | None] = {}
    for name in names:
        value = part.quantile_ns(QUANTILES[name]) if total >= FLOORS[name] else None
        figures[name] = None if value is None else value / _NS_PER_MS
    if largest:
        figures["max"] = int(part.values_ns[-1]) / _NS_PER_MS if total else None
    return figures


def _counted(ascending: NDArray[np.integer[Any]]) -> Distribution:
    firsts = _firsts(ascending)
    counts = np.diff(firsts, append=ascending.size).astype("u4")
    return Distribution(ascending[firsts], counts)


def _firsts(ascending: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    new = np.empty(ascending.size, dtype=bool)
    new[0] = True
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return np.flatnonzero(new)
