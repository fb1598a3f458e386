"""Cold start, per worker and over workers."""

from __future__ import annotations

from lab.analysis import cold
from tests.trial_builder import TrialBuilder, record, worker


def test_each_step_of_a_worker_is_the_sum_of_its_rows_that_ended_well() -> None:
    builder = TrialBuilder().operation(kind="login", phase="setup", outcome="fail", lasts=9)
    builder.operation(kind="login", phase="setup", at=9, lasts=4)
    for host in range(16):
        builder.operation(kind="find_key", phase="setup", vhost=host, at=13 + host, lasts=0.5)
    builder.operation(phase="first", at=40, lasts=2).operation(phase="measured", at=50, lasts=1)
    assert cold.of_process(builder.operations) == {"login": 4, "find_key": 8, "first_operation": 2, "total": 42}


def test_the_first_operation_is_one() -> None:
    builder = TrialBuilder().operation(phase="first", lasts=2).operation(phase="first", at=5, lasts=3)
    assert cold.of_process(builder.operations) == {"first_operation": 2, "total": 2}


def test_the_median_is_over_workers_and_missing_where_no_worker_did_the_step() -> None:
    assert cold.medians_ms([{"login": 1.0}, {"login": 5.0}, {"login": 2.0}, {}]) == {
        **dict.fromkeys(cold.STEPS),
        "login": 2.0,
    }


def test_the_parent_s_own_set_up_is_not_a_worker_s_cold_start() -> None:
    builder = TrialBuilder().operation(0, kind="initialize", phase="setup").operation(1)
    facts = builder.examine(record(worker(0, role="root"), worker(1, 1)))
    assert cold.medians_ms(facts.cold.values())["initialize"] is None
