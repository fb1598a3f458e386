"""23 operations, five ways: all must agree, and each of the five can be the one that does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.calibration import arms, counts
from lab.record.columns import CALLS, CONNECTIONS, FAIL, OK, RIGHT, WRONG
from lab.record.dtypes import ENDED, KIND, PHASE, SIDE
from lab.record.names import FUNCTION_NUMBER
from lab.record.run import StoredTrial
from tests.calibration.recorded import operations
from tests.trial_builder import record, worker

FIRST = 2


def calls(many: int) -> dict[str, Any]:
    given = {"function": FUNCTION_NUMBER["C_Sign"], "state": ENDED}
    return {name: np.full(many, given.get(name, 0), dtype) for name, dtype in CALLS.items()}


def ends(clients: int, servers: int) -> dict[str, Any]:
    sides = np.repeat([SIDE["client"], SIDE["server"]], [clients, servers])
    given = {"side": sides, "outcome": OK}
    return {name: np.broadcast_to(given.get(name, 0), sides.size).astype(dtype) for name, dtype in CONNECTIONS.items()}


def trial(
    planned: int = 23, wrong: int = 0, failed: int = 0, called: int = 25, clients: int = 23, kind: str = "sign"
) -> StoredTrial:
    first = FIRST if kind == "sign" else 0
    at = np.arange(arms.COUNTED + first, dtype=np.int64)
    phase = np.where(at < first, PHASE["first"], PHASE["measured"])
    verified, outcome = np.full(at.size, RIGHT), np.full(at.size, OK)
    verified[at.size - wrong :] = WRONG
    outcome[at.size - failed :] = FAIL
    table = operations(at, at, at + 1, phase=phase, verified=verified, outcome=outcome, kind=KIND[kind])
    return StoredTrial(Path(), record(worker(1, planned)), table, calls(called), ends(clients, 23))


def test_five_that_agree_pass() -> None:
    check = counts.signatures(trial(), at_token=25)
    assert (check.passed, check.measured) == (True, "5 of 5 say 23")
    assert counts.handshakes(trial(called=23, kind="handshake"), at_token=23).passed


@pytest.mark.parametrize(
    ("wrong", "odd"),
    [
        ({"planned": 22}, "client 22"),
        ({"wrong": 1}, "server 22"),
        ({"called": 24}, "call rows 22"),
        ({"failed": 1}, "operation rows 22"),
    ],
)
def test_one_that_counts_another_number_fails(wrong: dict[str, int], odd: str) -> None:
    check = counts.signatures(trial(**wrong), at_token=25)
    assert check.passed is False
    assert odd in check.told


def test_a_token_that_signed_once_more_fails() -> None:
    assert counts.signatures(trial(), at_token=26).passed is False
    assert counts.handshakes(trial(called=23, kind="handshake"), at_token=24).passed is False


def test_a_call_that_failed_is_no_signature() -> None:
    one = trial()
    refused = {**one.calls, "ckr": np.where(np.arange(one.calls["ckr"].size) == 0, 0x6, 0)}
    check = counts.signatures(replace(one, calls=refused), at_token=25)
    assert check.passed is False
    assert "call rows 22" in check.told


def test_a_client_that_lost_a_connection_fails() -> None:
    check = counts.handshakes(trial(called=23, clients=22, kind="handshake"), at_token=23)
    assert check.passed is False
    assert "client 22, server 23" in check.told
