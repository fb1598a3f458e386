"""planned = ok + fail + info + shed, and how it can come out wrong."""

from __future__ import annotations

import pytest

from lab.analysis.facts import TrialFacts
from lab.analysis.outcomes import Outcomes
from lab.record import columns
from tests.trial_builder import TrialBuilder, record, worker

NEVER_STARTED = "1 of 2 workers never started"


def outcomes(builder: TrialBuilder, planned: int, **fields: bool) -> TrialFacts:
    return builder.examine(record(worker(1, planned), **fields))


def test_every_planned_operation_has_one_outcome_and_what_has_no_row_is_shed() -> None:
    builder = TrialBuilder().operation(sequence=0).operation(sequence=1, outcome="fail", code=5)
    facts = outcomes(builder.operation(sequence=2, outcome="info", phase="warmup"), planned=10)
    assert facts.outcomes == Outcomes(planned=10, ok=1, fail=1, info=1, shed=7, verified=1, measured_ok=1)
    assert facts.outcomes.balanced
    assert not facts.invalid_because


def test_set_up_and_background_operations_are_no_planned_operations() -> None:
    builder = TrialBuilder().operation(sequence=0)
    for phase in ("setup", "first", "background", "parent_check", "teardown"):
        builder.operation(sequence=0, phase=phase)
    assert outcomes(builder, planned=1).outcomes.ok == 1


def test_the_same_number_in_two_threads_is_two_operations() -> None:
    facts = outcomes(TrialBuilder().operation(thread=0).operation(thread=1), planned=2)
    assert facts.outcomes.shed == 0
    assert not facts.invalid_because


def test_a_repeated_sequence_number_makes_the_trial_invalid() -> None:
    facts = outcomes(TrialBuilder().operation(sequence=3).operation(sequence=3), planned=5)
    assert facts.outcomes.shed == 4
    assert not facts.outcomes.balanced
    assert facts.invalid_because == (
        "process 1: 1 operations have the sequence number of another",
        "process 1: planned 5 is not ok 2 + fail 0 + info 0 + shed 4 = 6",
    )


def test_a_sequence_number_that_was_never_planned_makes_the_trial_invalid() -> None:
    because = outcomes(TrialBuilder().operation(sequence=9), planned=3).invalid_because
    assert because == ("process 1: 1 operations have a sequence number that was never planned",)


def test_more_rows_than_planned_do_not_balance() -> None:
    facts = outcomes(TrialBuilder().operation(thread=0).operation(thread=1), planned=1)
    assert "planned 1 is not ok 2" in facts.invalid_because[0]


def test_an_operation_begun_in_a_closed_loop_cannot_be_shed() -> None:
    facts = outcomes(TrialBuilder().operation(sequence=0), planned=2, open_loop=False)
    assert facts.invalid_because == ("process 1: 1 operations that it began have no row",)


def test_a_worker_without_any_row_has_shed_its_whole_plan() -> None:
    facts = TrialBuilder().operation(1).examine(record(worker(1, 1), worker(2, 4)))
    assert (facts.outcomes.planned, facts.outcomes.shed) == (5, 4)


def test_wrong_signatures_are_counted_apart_from_verified_ones() -> None:
    builder = TrialBuilder().operation(sequence=0).operation(sequence=1, verified=columns.WRONG)
    facts = outcomes(builder.operation(sequence=2, verified=columns.UNVERIFIED), planned=3)
    assert (facts.outcomes.ok, facts.outcomes.verified, facts.outcomes.wrong) == (3, 1, 1)


@pytest.mark.parametrize(
    ("builder", "trial", "because"),
    [
        (TrialBuilder(), record(worker(1, 3)), "no operation at all"),
        (TrialBuilder().operation(), record(worker(1, 1), lost_rows=2), "2 rows were lost"),
        (TrialBuilder().operation(), record(worker(1, 1), worker(2, end="never-started")), NEVER_STARTED),
        (TrialBuilder().operation(), record(), "no workers"),
        (TrialBuilder().operation(9), record(worker(1)), "operations of a process 9 that nobody started"),
        (TrialBuilder().operation(), record(worker(1, 1), invalid_because=("disk full",)), "disk full"),
    ],
)  # fmt: skip
def test_a_trial_says_why_it_is_invalid(builder: TrialBuilder, trial: object, because: str) -> None:
    assert because in builder.examine(trial).invalid_because  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["signal", "hang"])
def test_a_worker_that_crashes_or_hangs_leaves_the_trial_valid(end: str) -> None:
    builder = TrialBuilder().operation(sequence=0).operation(sequence=1, outcome="info")
    facts = builder.examine(record(worker(1, 5, end=end, status=11)))
    assert facts.usable
    assert (facts.processes.crashed, facts.processes.hung) == (int(end == "signal"), int(end == "hang"))


@pytest.mark.parametrize("end", ["signal", "hang", "root-died"])
def test_workers_that_all_die_before_their_first_operation_leave_the_trial_valid(end: str) -> None:
    facts = TrialBuilder().examine(record(worker(1, 5, end=end, status=11)))
    assert facts.usable
    assert facts.outcomes.shed == 5
