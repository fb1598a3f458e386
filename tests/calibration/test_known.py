"""Known answers: made-up trials that have them pass, and each way to get one wrong is seen to fail."""

from __future__ import annotations

import numpy as np
import pytest

from lab.analysis.queueing import waits_ns
from lab.calibration import arms, known
from lab.calibration.check import Check
from lab.calibration.queues import queues
from lab.record.columns import CALLS, FAIL, Table
from tests.calibration.recorded import operations, played, poisson

MS = 1_000_000
NO_CALLS = {name: np.empty(0, dtype) for name, dtype in CALLS.items()}


def closed(service_ms: float) -> Table:
    started = np.arange(200, dtype=np.int64) * 10 * MS
    return operations(started, started, started + round(service_ms * MS))


def outcome(checks: list[Check]) -> dict[str, bool | None]:
    return {check.name: check.passed for check in checks}


@pytest.mark.parametrize("service_ms", arms.SERVICES_MS)
def test_a_service_that_is_recovered_passes(service_ms: float) -> None:
    check = known.service(closed(service_ms * 1.01), NO_CALLS, service_ms)
    assert check.passed
    assert check.measured.endswith("(+1.00 %)")


@pytest.mark.parametrize("lie", [0.8, 1.2])
def test_a_service_that_is_a_fifth_off_fails(lie: float) -> None:
    assert known.service(closed(1.0 * lie), NO_CALLS, 1.0).passed is False


def test_a_service_without_operations_fails() -> None:
    nothing = {name: column[:0] for name, column in closed(1.0).items()}
    check = known.service(nothing, NO_CALLS, 1.0)
    assert (check.passed, check.measured) == (False, "nothing")


def stalled(lasted_ms: float = arms.STALL_MS) -> tuple[np.ndarray, np.ndarray]:
    due = poisson(5, 300, 5 * MS)
    service = np.full(due.size, round(arms.STALLED_SERVICE_MS * MS))
    service[arms.STALL_CALL - 2] += round(lasted_ms * MS)
    return due, service


def test_a_stall_that_shows_in_one_service_and_in_the_queue_behind_it_passes() -> None:
    due, service = stalled()
    checks = known.stall(played(due, service, late_ns=2_000), [due])
    assert set(outcome(checks).values()) == {True}
    assert int(checks[2].measured.split()[0]) > 20


def test_the_stall_is_expected_of_the_very_call_that_makes_it() -> None:
    due, service = stalled()
    *_, wait = known.stall(played(due, service), [due])
    assert wait.measured.endswith("(+0.00 %)")


def test_a_stall_that_hides_its_queue_fails() -> None:
    due, service = stalled()
    started = due + waits_ns(due, service)
    omitted = operations(started, started, started + service)  # as a closed loop counts, from the start
    assert outcome(known.stall(omitted, [due])) == {
        "longest service": True,
        "over 150 ms in service": True,
        "over 150 ms in response": False,
        "mean wait": False,
    }


def test_a_stall_of_another_length_and_none_at_all_fail() -> None:
    due, longer = stalled(lasted_ms=360)
    assert outcome(known.stall(played(due, longer), [due]))["longest service"] is False
    due, none = stalled(lasted_ms=0)
    assert not any(outcome(known.stall(played(due, none), [due])).values())


DUE = [poisson(thread, 3_000, 40 * MS) for thread in range(8)]
"""Eight queues at a load of 0.5 if a service is 20 ms."""


def queue_of(service_ms: float = 20.0, late_ns: int = 1_000) -> Table:
    parts = []
    for thread, due in enumerate(DUE):
        parts.append(played(due, np.full(due.size, round(service_ms * MS)), late_ns, thread))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_a_queue_that_does_what_theory_says_passes_row_by_row_and_in_the_mean() -> None:
    table = queue_of()
    found = [*known.lindley(table), *known.constant_service(table, DUE)]
    assert [check.name for check in found if check.passed is False] == []
    assert "24000 operations in 8 queues" in found[-2].told


def test_rows_are_put_in_the_order_of_their_arrival() -> None:
    table = queue_of()
    order = np.random.default_rng(3).permutation(table["thread"].size)
    shuffled = {name: column[order] for name, column in table.items()}
    assert known.lindley(shuffled) == known.lindley(table)


def test_a_wait_that_the_recursion_does_not_give_fails() -> None:
    table = dict(queue_of())
    later = np.zeros(table["thread"].size, np.int64)
    later[::10] = 5 * MS  # every tenth row claims a wait of 5 ms more, and the same service
    wrong = {**table, "started_ns": table["started_ns"] + later, "ended_ns": table["ended_ns"] + later}
    assert outcome(known.lindley(wrong))["Lindley, rows within 2 ms"] is False


def test_one_row_that_starts_before_its_turn_fails() -> None:
    table = dict(queue_of())
    early = table["started_ns"].copy()
    early[np.argmax(early - table["intended_ns"])] -= 5 * MS  # it waited longest: its turn was not yet there
    checks = known.lindley({**table, "started_ns": early, "ended_ns": table["ended_ns"]})
    assert outcome(checks)["Lindley, rows below it"] is False


def test_a_service_longer_than_was_told_is_found_by_m_d_1_only_as_measured() -> None:
    found = outcome(known.constant_service(queue_of(service_ms=22), DUE))
    assert found["M/D/1, arrivals as drawn"] is True
    assert found["M/D/1, as measured"] is False


def test_fewer_operations_get_the_tolerance_of_so_many_draws() -> None:
    table = queue_of()
    few = {name: column[table["sequence"] < 100] for name, column in table.items()}
    drawn = known.constant_service(few, [due[:100] for due in DUE])[0]
    assert drawn.wanted == "10 ms ± 25 %"


def test_nothing_follows_from_a_queue_with_a_failure() -> None:
    table = dict(queue_of())
    table["outcome"] = table["outcome"].copy()
    table["outcome"][7] = FAIL
    with pytest.raises(ValueError, match="not every operation ended well"):
        list(queues(table))
