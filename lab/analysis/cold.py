"""Cold start: what a worker pays before its first operation is done. It is the price of the policy `per-process`.

One figure per worker and step: the service time of the first row of that step that ended well. Workers that inherit a
context have no such rows, and then the figure is missing, not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

import numpy as np

from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import KIND, PHASE

STEPS: Final = ("initialize", "login", "find_key", "first_operation")


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
    for step in STEPS[:-1]:
        if kind == KIND[step]:
            return step
    return None
