"""The course of a trial: which slice an operation belongs to, and what is kept of it."""

from __future__ import annotations

import numpy as np
import pytest

from lab.analysis import course
from lab.analysis.course import SLICES, Course
from tests.trial_builder import TrialBuilder, record, worker

TRIAL = record(worker(1, 9), warmup_ns=100_000_000, duration_ns=256_000_000)  # slices of 1 ms, from 100 ms on


def test_an_operation_is_in_the_slice_in_which_it_was_due() -> None:
    rows = (
        TrialBuilder().operation(at=100.2, lag=5, lasts=2).operation(at=103.9, lasts=1).operation(at=355.9).operations
    )
    found = course.of_process(TRIAL, rows)
    assert found.slices.tolist() == [0, 3, 255]
    assert found.service_ns[:2].tolist() == [2_000_000, 1_000_000]
    assert found.response_ns[:2].tolist() == [7_000_000, 1_000_000]


def test_what_was_done_counts_in_the_slice_in_which_it_ended() -> None:
    rows = TrialBuilder().operation(phase="warmup", at=99, lasts=3.5).operation(at=355, lasts=50).operations
    done = course.of_process(TRIAL, rows).done
    assert np.flatnonzero(done).tolist() == [2]  # the second ended when the measured time was over


def test_warm_up_and_failures_have_no_durations() -> None:
    rows = TrialBuilder().operation(phase="warmup", at=99).operation(at=120, outcome="fail").operations
    assert course.of_process(TRIAL, rows).slices.size == 0


def test_a_closed_loop_is_cut_by_the_starts_and_has_no_response() -> None:
    rows = TrialBuilder().operation(at=100, lag=8, lasts=1).operations
    found = course.of_process(record(worker(1, 1), open_loop=False, warmup_ns=0, duration_ns=256_000_000), rows)
    assert (found.slices.tolist(), found.response_ns.size) == ([108], 0)


def test_a_duration_beyond_four_bytes_keeps_its_value() -> None:
    rows = TrialBuilder().operation(at=100, lasts=5000).operations
    assert course.of_process(TRIAL, rows).service_ns.tolist() == [5_000_000_000]


def test_a_trial_that_was_never_released_has_none() -> None:
    rows = TrialBuilder().operation().operations
    found = course.of_process(record(worker(1, 1), released_ns=None), rows)
    assert (found.slices.size, found.done.sum()) == (0, 0)


def test_of_a_process_with_very_many_operations_every_second_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "MOST", 5)
    builder = TrialBuilder()
    for number in range(9):
        builder.operation(sequence=number, at=100 + number, lasts=1)
    found = course.of_process(TRIAL, builder.operations)
    assert found.slices.tolist() == [0, 2, 4, 6, 8]
    assert found.done.sum() == 9


def test_parts_are_put_together() -> None:
    part = course.of_process(TRIAL, TrialBuilder().operation(at=100, lasts=1).operations)
    both = course.together([part, part])
    assert (both.slices.size, both.service_ns.size, both.done.sum(), both.done.size) == (2, 2, 2, SLICES)
    assert course.together([]).slices.size == Course().slices.size == 0
