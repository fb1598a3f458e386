"""Cold start: what a worker pays before its first operation is done. It is the price of the policy `per-process`.

One figure per worker and step: the service time of the first row of that step that ended well. `total` is the time that
really went by, from the beginning of the first step to the end of the first operation, where that ended well: no sum of
steps, and its median no sum of medians. Workers that inherit a context have fewer steps; a missing one is no zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

import numpy as np

from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import KIND, PHASE

STEPS: Final = (
    *("load", "finalize", "initialize", "find_token", "open_session", "login", "find_key", "first_operation"),
    "total",
)
_KINDS: Final = STEPS[:-2]


def of_process(operations: Table) -> dict[str, float]:
    """Service times in ms by step, of the rows of one worker; steps that it did not do, or failed at, are absent."""
    phase = operations["phase"]
    early = np.flatnonzero((phase == PHASE["setup"]) | (phase == PHASE["first"]))
    well = early[operations["outcome"][early] == columns.OK]
    found: dict[str, float] = {}
    for row in well:
        step = _step(int(phase[row]), int(operations["kind"][row]))
        if step and step not in found:
            found[step] = int(operations["ended_ns"][row] - operations["started_ns"][row]) / 1e6
    first = well[phase[well] == PHASE["first"]]
    if first.size:
        found["total"] = int(operations["ended_ns"][first[0]] - operations["started_ns"][early].min()) / 1e6
    return found


def medians_ms(workers: Iterable[Mapping[str, float]]) -> dict[str, float | None]:
    """The median over workers of each step, None where no worker did it."""
    by_worker = list(workers)
    figures: dict[str, float | None] = {}
    for step in STEPS:
        values = [worker[step] for worker in by_worker if step in worker]
        figures[step] = median(values) if values else None
    return figures


def _step(phase: int, kind: int) -> str | None:
    if phase == PHASE["first"]:
        return "first_operation"
    for step in _KINDS:
        if kind == KIND[step]:
            return step
    return None
