"""Throughput: what was done in the measured time, not what was offered in it."""

from __future__ import annotations

from lab.analysis import course
from tests.trial_builder import TrialBuilder, record, worker

SECOND_MS = 1000


def test_a_backlog_that_is_worked_off_after_the_load_is_no_throughput() -> None:
    builder = TrialBuilder()
    for sequence in range(10):  # all due in the first second, each takes half of one
        builder.operation(sequence=sequence, at=sequence, lag=500 * sequence - sequence, lasts=500)
    facts = builder.examine(record(worker(1, 10)))
    assert facts.outcomes.measured_ok == 10
    assert facts.figures()["throughput_hz"] == 1.0  # one ended before the second was over, one with it


def test_an_operation_of_the_warm_up_that_ends_in_the_measured_time_was_done_in_it() -> None:
    rows = TrialBuilder().operation(phase="warmup", at=90, lasts=20).operation(at=200, lasts=1).operations
    trial = record(worker(1, 2), warmup_ns=100_000_000, duration_ns=100_000_000)
    assert course.of_process(trial, rows).done.sum() == 1


def test_failures_and_operations_without_an_end_are_not_done() -> None:
    rows = TrialBuilder().operation(outcome="fail").operation(1, 1, outcome="info").operations
    assert course.of_process(record(worker(1, 2)), rows).done.sum() == 0
