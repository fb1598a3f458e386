"""What the lab costs: operations that do nothing, handshakes without a token, and the tap."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from lab.calibration import arms
from lab.calibration.check import Check, at_most, only_told, quantity
from lab.record.columns import Table
from lab.record.dtypes import PHASE

LATENESS_SHARE: Final = 0.10
"""Of the shortest service that is recovered: at most so late the median of operations that do nothing may be. The same
share invalidates a run (lab/analysis/validity.py)."""
COST_SHARE: Final = 0.01
"""Of the same: at most so much a loop may take for an operation, or the tap for a call."""
_US_PER_MS: Final = 1000
_SHORTEST_US: Final = min(arms.SERVICES_MS) * _US_PER_MS


def null(topology: str, opened: Mapping[str, Any], closed: Table) -> list[Check]:
    """`opened`: the arm's part of summary.json; `closed`: operations of the closed loop."""
    response = {name: opened["response_ms"][name] for name in ("p50", "p99")}
    p50, p99 = (None if ms is None else ms * _US_PER_MS for ms in response.values())
    told = "p99 n/a" if p99 is None else f"p99 {quantity(p99, 'µs')}"
    return [
        at_most("floor", f"null, {topology}, open loop", p50, LATENESS_SHARE * _SHORTEST_US, "µs", told),
        at_most("floor", f"null, {topology}, each operation", loop_us(closed), COST_SHARE * _SHORTEST_US, "µs"),
    ]


def loop_us(operations: Table) -> float | None:
    """From one start to the next of a thread in a closed loop, at the median, µs; None of fewer than two operations."""
    measured: Any = operations["phase"] == PHASE["measured"]
    whose = operations["process"][measured].astype(np.int64) << 16 | operations["thread"][measured]
    started = operations["started_ns"][measured]
    steps = [np.diff(np.sort(started[whose == one])) for one in np.unique(whose)]
    together = np.concatenate(steps) if steps else np.empty(0)
    return float(np.median(together)) / 1e3 if together.size else None


def handshake(arm: Mapping[str, Any]) -> Check:
    """`arm`: its part of summary.json."""
    p99 = arm["response_ms"]["p99"]
    told = f"{arm['ok']} handshakes" + ("" if p99 is None else f"; p99 {quantity(p99, 'ms')}")
    return only_told("floor", "handshake without a token", arm["response_ms"]["p50"], "ms", told)


def tap(turns: Sequence[tuple[float, float]]) -> Check:
    """turns: ns of a call directly and through the tap, in pairs that alternated."""
    added = sorted(tapped - direct for direct, tapped in turns)
    low, middle, high = statistics.quantiles(added, n=4)
    told = f"middle half {low / 1e3:.3g} to {high / 1e3:.3g} µs, {len(added)} pairs, C_GenerateRandom"
    return at_most("tap", "the tap adds to a call", middle / 1e3, COST_SHARE * _SHORTEST_US, "µs", told)
