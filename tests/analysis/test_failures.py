"""Failures by layer and code."""

from __future__ import annotations

import pytest

from lab.analysis.failures import Failure, to_json
from lab.record import columns
from lab.record.model import ProcessRecord
from tests.trial_builder import NOT_INITIALIZED, TrialBuilder, record, worker


def failures(builder: TrialBuilder, *processes: ProcessRecord) -> tuple[Failure, ...]:
    return builder.examine(record(*processes)).failures


def test_failures_are_counted_by_ckr_name_over_processes_with_their_functions() -> None:
    builder = TrialBuilder()
    for process in (1, 2):
        builder.operation(process, 0, outcome="fail", code=NOT_INITIALIZED, function="C_SignInit")
        builder.operation(process, 1, outcome="fail", code=NOT_INITIALIZED, function="C_Sign")
    builder.operation(2, 2, outcome="fail", code=5, function="C_Sign")
    found = failures(builder, worker(1, 2), worker(2, 3))
    assert [(each.code, each.count, each.processes) for each in found] == [
        ("CKR_CRYPTOKI_NOT_INITIALIZED", 4, 2),
        ("CKR_GENERAL_ERROR", 1, 1),
    ]
    assert found[0].functions == (("C_Sign", 2), ("C_SignInit", 2))


def test_failed_steps_of_the_set_up_are_failures_and_are_told_apart() -> None:
    builder = TrialBuilder().operation(
        kind="find_token", phase="setup", outcome="fail", code=3, function="C_OpenSession"
    )
    builder.operation(sequence=0, outcome="fail", code=3, function="C_OpenSession")
    (found,) = failures(builder, worker(1, 1))
    assert to_json(found) == {
        "layer": "pkcs11",
        "code": "CKR_SLOT_ID_INVALID",
        "count": 2,
        "processes": 1,
        "setup": 1,
        "functions": {"C_OpenSession": 2},
        "side": None,
    }


@pytest.mark.parametrize(
    ("fields", "layer", "code"),
    [
        ({"end": "signal", "status": 11}, "signal", "SIGSEGV"),
        ({"end": "signal", "status": 9}, "signal", "SIGKILL"),
        ({"end": "hang", "last_call": "C_Sign"}, "hang", "hung in C_Sign"),
        ({"end": "hang", "last_call": "C_Sign", "in_last_call": False}, "hang", "hung after C_Sign"),
        ({"end": "root-died"}, "exit", "the trial root died"),
        ({"end": "exit", "status": 3}, "exit", "exit status 3"),
    ],
)
def test_the_way_a_process_ended_is_a_failure_by_name(fields: dict[str, object], layer: str, code: str) -> None:
    (found,) = failures(TrialBuilder().operation(), worker(1, 1, **fields))
    assert (found.layer, found.code, found.count) == (layer, code, 1)


def test_leaving_in_the_middle_of_an_operation_with_status_0_is_a_failure() -> None:
    (found,) = failures(TrialBuilder().operation(outcome="info"), worker(1, 1, finished=False))
    assert found.code == "exit status 0 in mid-operation"


def test_leaving_between_two_operations_before_the_work_is_done_is_a_failure_too() -> None:
    (found,) = failures(TrialBuilder().operation(), worker(1, 2, finished=False))
    assert found.code == "exit status 0"


def test_a_signature_that_does_not_verify_is_a_wrong_result() -> None:
    (found,) = failures(TrialBuilder().operation(verified=columns.WRONG), worker(1, 1))
    assert (found.layer, found.count) == ("wrong-result", 1)


def test_a_run_without_failures_lists_none() -> None:
    assert failures(TrialBuilder().operation(), worker(1, 1)) == ()
