"""Answers that are known: how long the stub takes, the stall that it makes, and what queues of it do by theory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis.queueing import constant_mean_wait, waits_ns
from lab.calibration import arms
from lab.calibration.check import Check, near, only_told, quantity
from lab.calibration.queues import Queue, queues
from lab.record.columns import Table
from lab.record.dtypes import PHASE
from lab.record.names import FUNCTION_NUMBER

SERVICE_TOLERANCE: Final = 0.05
STALL_TOLERANCE: Final = 0.05
STALL_QUEUE_TOLERANCE: Final = 0.10
RECURSION_TOLERANCE: Final = 0.10
WAIT_TOLERANCE: Final = 0.05
LAG_SHARE: Final = 0.10
"""Of the service: how far a recorded wait may lie above the recursion's."""
LEAST_ROWS: Final = 0.95
ENOUGH_OPERATIONS: Final = 20_000
"""So many have, at a load of 0.5, a mean wait within 5 % of M/D/1's in 19 of 20 draws (docs/method.md)."""
_NS_PER_MS: Final = 1e6

Due = Sequence[NDArray[np.int64]]
"""The plan's arrivals (lab.plan.arrivals), ns, one array for each thread."""


def service(operations: Table, calls: Table, service_ms: float) -> Check:
    """The median service of a closed loop against what the stub was told."""
    measured: Any = operations["phase"] == PHASE["measured"]
    took = (operations["ended_ns"] - operations["started_ns"])[measured & (operations["ended_ns"] > 0)]
    signing: Any = (calls["function"] == FUNCTION_NUMBER["C_Sign"]) & (calls["ended_ns"] > 0)
    at_tap = (calls["ended_ns"] - calls["started_ns"])[signing]
    told = f"{took.size} operations"
    if at_tap.size:
        told += f"; C_Sign at the tap {np.median(at_tap) / _NS_PER_MS:.4g} ms"
    median = float(np.median(took)) / _NS_PER_MS if took.size else None
    return near("service", f"median of {service_ms:g} ms", median, service_ms, SERVICE_TOLERANCE, "ms", told)


def stall(operations: Table, due: Due) -> list[Check]:
    """One operation is long in service; those that queue behind it are long in response, as the recursion says.

    It is held against the plan and what the stub was told alone, so a response counted from the start is found out.
    """
    (queue,), (planned,) = list(queues(operations)), due
    lasted_ns, usual_ns = (round(ms * _NS_PER_MS) for ms in (arms.STALL_MS, arms.STALLED_SERVICE_MS))
    longest = int(queue.service.max()) / _NS_PER_MS
    long_ns = lasted_ns // 2
    known = np.full(planned.size, usual_ns, np.int64)
    known[arms.STALL_CALL - 2] += lasted_ns  # the first call is the worker's first operation, before the load
    waits = waits_ns(planned, known)
    in_service = int((queue.service > long_ns).sum())
    response = queue.ended - queue.intended
    in_response, by_theory = int((response > long_ns).sum()), int((waits + known > long_ns).sum())
    return [
        near("stall", "longest service", longest, arms.STALL_MS + arms.STALLED_SERVICE_MS, STALL_TOLERANCE, "ms"),
        Check(
            "stall",
            f"over {long_ns / _NS_PER_MS:.0f} ms in service",
            f"{in_service}",
            "1",
            in_service == 1,
            in_service,
        ),
        near(
            "stall",
            f"over {long_ns / _NS_PER_MS:.0f} ms in response",
            in_response,
            by_theory,
            STALL_QUEUE_TOLERANCE,
            "",
            f"of {response.size} operations; wanted is the recursion on the planned arrivals",
        ),
        near(
            "stall",
            "mean wait",
            float(queue.wait.mean()) / _NS_PER_MS,
            float(waits.mean()) / _NS_PER_MS,
            STALL_QUEUE_TOLERANCE,
            "ms",
        ),
    ]


def lindley(operations: Table, service_ms: float = arms.QUEUE_SERVICE_MS) -> list[Check]:
    """Row by row: response less service is what the recursion makes of the recorded services, and what the lab adds."""
    found = list(queues(operations))
    predicted = np.concatenate([waits_ns(queue.intended, queue.service) for queue in found])
    recorded = np.concatenate([queue.wait for queue in found])
    over = recorded - predicted
    most_ns = LAG_SHARE * service_ms * _NS_PER_MS
    share = float(((over >= 0) & (over <= most_ns)).mean())
    early = int((over < 0).sum())
    p50, p99 = (quantity(float(np.quantile(over, p)) / 1e3, "µs") for p in (0.5, 0.99))
    told = f"{over.size} rows; above it by {p50} at p50, {p99} at p99"
    return [
        Check(
            "queue",
            f"Lindley, rows within {most_ns / _NS_PER_MS:g} ms",
            f"{100 * share:.2f} %",
            f"at least {100 * LEAST_ROWS:g} %",
            share >= LEAST_ROWS,
            share,
            told,
        ),
        Check("queue", "Lindley, rows below it", f"{early}", "0", early == 0, early, "none can start before its turn"),
        near(
            "queue",
            "Lindley, mean wait",
            float(recorded.mean()) / _NS_PER_MS,
            float(predicted.mean()) / _NS_PER_MS,
            RECURSION_TOLERANCE,
            "ms",
        ),
    ]


def constant_service(operations: Table, due: Due, service_ms: float = arms.QUEUE_SERVICE_MS) -> list[Check]:
    """M/D/1: what was planned, and what was measured, against the theory."""
    found = list(queues(operations))
    known_ms = constant_mean_wait(arms.QUEUE_LOAD, service_ms / 1000) * 1000
    service_ns = round(service_ms * _NS_PER_MS)
    drawn = [
        _mean_ms(queue, waits_ns(planned, np.full(planned.size, service_ns, np.int64)))
        for queue, planned in zip(found, (part for part in due if part.size), strict=True)
    ]
    waited = [_mean_ms(queue, queue.wait) for queue in found]
    weights = [int(queue.measured.sum()) for queue in found]
    operations_in_all = sum(weights)
    # fewer operations tell less: the tolerance is that of so many draws
    tolerance = WAIT_TOLERANCE * math.sqrt(max(1.0, ENOUGH_OPERATIONS / max(1, operations_in_all)))
    error = _standard_error(waited, weights)
    told = f"{operations_in_all} operations in {len(found)} queues; standard error {error:.2g} ms"
    mean_service = float(np.mean(np.concatenate([queue.service[queue.measured] for queue in found]))) / _NS_PER_MS
    return [
        near("queue", "M/D/1, arrivals as drawn", _weighted(drawn, weights), known_ms, tolerance, "ms"),
        near("queue", "M/D/1, as measured", _weighted(waited, weights), known_ms, tolerance, "ms", told),
        only_told("queue", "mean service", mean_service, "ms", f"the stub was told {service_ms:g} ms"),
    ]


def _mean_ms(queue: Queue, waits: Any) -> float:
    return float(waits[queue.measured].mean()) / _NS_PER_MS if queue.measured.any() else 0.0


def _weighted(values: list[float], weights: list[int]) -> float | None:
    return float(np.average(values, weights=weights)) if sum(weights) else None


def _standard_error(values: list[float], weights: list[int]) -> float:
    """Of the mean over queues, which are independent: a Poisson process dealt at random is several of them."""
    if len(values) < 2 or not sum(weights):
        return math.nan
    mean = np.average(values, weights=weights)
    shares = np.array(weights) / sum(weights)
    return float(np.sqrt((shares**2 * (np.array(values) - mean) ** 2).sum() * len(values) / (len(values) - 1)))


def figures(checks: Mapping[str, Check]) -> dict[str, float]:
    """Relative errors of the recovered services, by their name in ms."""
    found = {}
    for service_ms in arms.SERVICES_MS:
        check = checks.get(f"median of {service_ms:g} ms")
        if check is not None and check.figure is not None:
            found[f"{service_ms:g}"] = abs(check.figure / service_ms - 1)
    return found
