"""Tickets that processes share, that are each process's own, and none: who is resumed, and what the token does."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.combined import Sealed, Tables, run
from tests.runs import balanced

CLIENTS, PROCESSES = 4, 3
BASE = f'[workload]\nkind = "handshake"\n[topology]\nprocesses = {PROCESSES}\n'
LOADS: dict[str, dict[str, Any]] = {
    "closed": {"mode": "closed", "clients": CLIENTS, "warmup_s": 0, "duration_s": 0.3},
    "open": {"mode": "open", "arrivals": "paced", "rate_hz": 200, "warmup_s": 0, "duration_s": 0.4},
}
POLICIES = ("shared", "per-process", "reinit")


def _arms() -> dict[str, Tables]:
    arms: dict[str, Tables] = {}
    for policy, version, resumption, load in product(POLICIES, ("1.2", "1.3"), ("off", "shared", "per-process"), LOADS):
        if policy != "reinit" or load == "closed":
            arms[f"{policy} {version} {resumption} {load}"] = {
                "context": {"policy": policy},
                "tls": {"version": version, "resumption": resumption},
                "load": LOADS[load],
            }
    return arms


ARMS = _arms()


def _of(resumption: str, load: str = "") -> list[str]:
    return [name for name in ARMS if name.split()[2] == resumption and name.endswith(load)]


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("resumption"), BASE, ARMS)


@pytest.fixture
def one(arms: dict[str, Sealed], request: pytest.FixtureRequest) -> Sealed:
    return arms[request.param]


every = pytest.mark.parametrize("one", ARMS, indirect=True)


def _key_operations(one: Sealed) -> pd.DataFrame:
    """Those of servers: the parent of a shared context signs once more, when it checks itself."""
    servers = [worker["index"] for worker in one.workers]
    return one.calls[(one.calls.function == "C_Sign") & one.calls.process.isin(servers)]


@every
def test_both_ends_agree_on_who_was_resumed_and_all_end_well(one: Sealed) -> None:
    arm = one.arm
    assert balanced(arm)
    assert arm["ok"] == arm["verified"] == arm["planned"]
    assert arm["failures"] == []
    assert arm["connections"]["joined"] == arm["planned"]
    clients = one.connections_of("client").set_index("random").resumed
    servers = one.connections_of("server").set_index("random").resumed
    assert clients.sort_index().equals(servers.sort_index())
    assert arm["connections"]["resumed"] == clients.sum()


@every
def test_the_key_is_used_once_for_each_full_handshake_and_for_no_other(one: Sealed) -> None:
    servers = one.connections_of("server")
    assert len(_key_operations(one)) == (servers.resumed == 0).sum()


@every
def test_no_call_is_made_for_a_handshake_that_is_resumed(one: Sealed) -> None:
    calls = one.calls.sort_values(["process", "tid", "started_ns"])
    for served in one.connections_of("server").itertuples():
        if served.resumed:
            mine = calls[(calls.process == served.process) & (calls.tid == served.tid)].started_ns.to_numpy()
            first, last = np.searchsorted(mine, [served.opened_ns, served.ended_ns])
            assert first == last


@pytest.mark.parametrize("one", _of("off"), indirect=True)
def test_nothing_is_resumed_where_that_is_off(one: Sealed) -> None:
    assert one.arm["connections"]["resumed"] == 0
    assert one.arm["where_ms"]["token"]["p50"] > 0


@pytest.mark.parametrize("one", _of("shared", "closed"), indirect=True)
def test_a_client_with_a_ticket_that_all_take_uses_the_key_once(one: Sealed) -> None:
    assert one.arm["connections"]["resumed"] == one.arm["planned"] - CLIENTS
    assert one.arm["where_ms"]["token"]["p50"] == 0


@pytest.mark.parametrize("one", _of("shared", "open"), indirect=True)
def test_arrivals_of_an_open_loop_offer_the_newest_ticket_that_there_is(one: Sealed) -> None:
    assert one.arm["connections"]["resumed"] > one.arm["planned"] / 2
    assert one.arm["where_ms"]["token"]["p50"] == 0


def _pairs(one: Sealed) -> pd.DataFrame:
    """Each handshake of a client but its first: whether it was resumed, and where it and the one before were served."""
    clients = one.connections_of("client")[["random", "thread", "sequence"]]
    served = one.connections_of("server")[["random", "process", "resumed"]]
    joined = clients.merge(served, on="random", validate="one_to_one").sort_values(["thread", "sequence"])
    return joined.assign(before=joined.groupby("thread").process.shift()).dropna()


@pytest.mark.parametrize("one", _of("shared", "closed"), indirect=True)
def test_shared_tickets_are_taken_by_other_processes_than_gave_them(one: Sealed) -> None:
    pairs = _pairs(one)
    assert pairs.resumed.all()
    assert (pairs.process != pairs.before).any()


@pytest.mark.parametrize("one", _of("per-process", "closed"), indirect=True)
def test_a_ticket_of_one_process_is_taken_by_that_process_only(one: Sealed) -> None:
    """Whether its context was made before the fork or after: what children inherit must not make them share tickets."""
    pairs = _pairs(one)
    assert (pairs.process != pairs.before).any()
    assert pairs.resumed.any()
    assert (pairs.resumed == (pairs.process == pairs.before)).all()
