"""What the lab costs: told of made-up figures, and failing where they are too large or impossible."""

from __future__ import annotations

import numpy as np
import pytest

from lab.calibration import floors
from tests.calibration.recorded import operations


def closed(step_ns: int) -> dict[str, np.ndarray]:
    started = np.tile(np.arange(50, dtype=np.int64) * step_ns, 2)
    return dict(operations(started, started, started + 10, thread=np.repeat([0, 1], 50)))


def opened(p50_ms: float | None) -> dict[str, dict[str, float | None]]:
    return {"response_ms": {"p50": p50_ms, "p99": None}}


def test_a_loop_costs_from_one_start_to_the_next_of_the_same_thread() -> None:
    assert floors.loop_us(closed(60)) == pytest.approx(0.06)
    assert floors.loop_us({name: column[:1] for name, column in closed(60).items()}) is None


@pytest.mark.parametrize(
    ("p50_ms", "step_ns", "passed"),
    [(0.001, 60, [True, True]), (0.03, 60, [False, True]), (0.001, 5_000, [True, False]), (None, 60, [False, True])],
)
def test_operations_that_do_nothing_may_cost_little(p50_ms: float | None, step_ns: int, passed: list[bool]) -> None:
    assert [check.passed for check in floors.null("prefork", opened(p50_ms), closed(step_ns))] == passed


@pytest.mark.parametrize(("added", "passed"), [(100.0, True), (2_500.0, False), (-40.0, False)])
def test_the_tap_adds_little_and_never_less_than_nothing(added: float, passed: bool) -> None:
    check = floors.tap([(100.0 + turn, 100.0 + turn + added) for turn in range(9)])
    assert check.figure == pytest.approx(added / 1000)
    assert check.passed is passed
