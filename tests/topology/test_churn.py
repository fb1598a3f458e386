"""Children that end after so many connections, as MaxConnectionsPerChild has it: all computed, and nothing leaks."""

from __future__ import annotations

from itertools import product
from math import ceil

import pandas as pd
import pytest

from tests.combined import Sealed, Tables, run
from tests.runs import balanced

LOAD = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 120\nwarmup_s = 0\nduration_s = 0.5\n'
PLANNED = 60
# clients wait for a process whose program starts for each connection, and on a busy machine that takes its time
BASE = f'{LOAD}[token]\nreset_on_fork = false\n[workload]\nkind = "handshake"\n[tls]\ntimeout_s = 10\n'
PROCESSES = 2
SHAPES: Tables = {
    "prefork": {"processes": PROCESSES},
    "worker": {"processes": PROCESSES, "threads": 2},
    "event": {"processes": PROCESSES},
    "spawn": {"processes": PROCESSES},
}
POLICIES = ("shared", "reinit", "per-process")
SHARES = (1, 7, 30)


def _arms() -> dict[str, Tables]:
    arms: dict[str, Tables] = {}
    for (kind, shape), policy, share in product(SHAPES.items(), POLICIES, SHARES):
        # a spawned process inherits nothing; starting a program for each connection says no more than for seven
        if kind == "spawn" and (policy != "per-process" or share == 1):
            continue
        topology = {"kind": kind, **shape, "connections_per_child": share}
        arms[f"{kind} {policy} {share}"] = {"topology": topology, "context": {"policy": policy}}
    herd = {"kind": "prefork", "processes": 4, "start": "herd", "connections_per_child": 7}
    # with a login of its own, each of a herd may find no token: SoftHSM writes it anew at every login
    arms["herd shared 7"] = {"topology": herd, "context": {"policy": "shared"}}
    return arms


ARMS = _arms()


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("churn"), BASE, ARMS)


@pytest.fixture
def one(arms: dict[str, Sealed], request: pytest.FixtureRequest) -> Sealed:
    return arms[request.param]


every = pytest.mark.parametrize("one", ARMS, indirect=True)


def _share(one: Sealed) -> int:
    share = one.arm["tls"]["connections_per_child"]
    assert isinstance(share, int)
    return share


def _served(one: Sealed) -> pd.Series:
    return one.connections_of("server").groupby("process").size()


@every
def test_every_planned_handshake_ends_well_whoever_comes_and_goes(one: Sealed) -> None:
    assert balanced(one.arm)
    assert (one.arm["planned"], one.arm["ok"], one.arm["failures"]) == (PLANNED, PLANNED, [])
    assert one.arm["connections"]["joined"] == one.arm["connections"]["accepted"] == PLANNED


@every
def test_no_process_has_more_than_its_share_and_all_but_the_last_have_all_of_it(one: Sealed) -> None:
    served = _served(one)
    processes, share = one.arm["topology"]["processes"], _share(one)
    assert served.max() <= share
    assert (served < share).sum() <= processes
    ended = int((served == share).sum())
    assert len(one.workers) - ended <= processes  # those that are left over at the end, or were about to be
    assert len(one.workers) >= max(processes, ceil(PLANNED / share))
    assert len({worker["pid"] for worker in one.workers}) == len(one.workers)


@every
def test_each_process_ends_in_order(one: Sealed) -> None:
    assert {(p["end"], p["status"], p["finished"]) for p in one.trial["processes"]} == {("exit", 0, True)}
    assert one.arm["processes"]["started"] == len(one.workers)
    generators = {generator["index"] for generator in one.generators}
    assert {worker["index"] for worker in one.workers} == set(range(1, len(one.trial["processes"]))) - generators


@every
def test_contexts_and_sessions_are_as_many_as_the_policy_says(one: Sealed) -> None:
    threads = one.arm["topology"]["threads"]
    made = {"shared": 1, "reinit": 1 + len(one.workers), "per-process": len(one.workers)}[one.arm["context"]]
    initialized = one.calls[(one.calls.function == "C_Initialize") & (one.calls.ckr == "CKR_OK")]
    assert len(initialized) == made
    assert len(set(initialized.process)) == made
    sessions = one.arm["sessions"]
    assert sessions["opened"] == made * threads
    assert sessions["leaked"] == 0
