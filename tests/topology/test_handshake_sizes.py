"""Handshakes from one client to five hundred, one server to two hundred: none is lost, and none is uncounted."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.combined import LOAD_PHASES, Sealed, Tables, run
from tests.runs import balanced

BASE = 'timeout_s = 90\n[workload]\nkind = "handshake"\n[tls]\ntimeout_s = 30\n'  # of a machine with other work
CLOSED = {"mode": "closed", "warmup_s": 0.1, "duration_s": 1.0}
OPEN = {"mode": "open", "arrivals": "paced", "warmup_s": 0, "duration_s": 0.5}
MORE_THAN_OPEN = {"mode": "open", "arrivals": "paced", "warmup_s": 0, "duration_s": 0.1, "rate_hz": 100_000}
FLOOR = {"bridge": "software"}

ARMS: dict[str, Tables] = {
    "500 clients at 50 processes": {"topology": {"processes": 50}, "load": {**CLOSED, "clients": 500}},
    "500 clients at 50 event loops": {
        "topology": {"kind": "event", "processes": 50},
        "load": {**CLOSED, "clients": 500},
    },
    "500 clients of 5 generators": {"topology": {"processes": 50}, "load": {**CLOSED, "clients": 500, "generators": 5}},
    "200 processes": {"topology": {"processes": 200}, "load": {**OPEN, "rate_hz": 800}},
    "16 generators": {"topology": {"processes": 4}, "load": {**OPEN, "rate_hz": 320, "generators": 16}},
    "33 clients of 16 generators": {
        "topology": {"processes": 4},
        "load": {**CLOSED, "clients": 33, "generators": 16},
    },
    "one client": {"topology": {"processes": 1}, "load": {**CLOSED, "clients": 1}},
}


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("sizes"), BASE, ARMS)


@pytest.fixture
def one(arms: dict[str, Sealed], request: pytest.FixtureRequest) -> Sealed:
    return arms[request.param]


every = pytest.mark.parametrize("one", ARMS, indirect=True)


@every
def test_no_handshake_is_lost_and_none_is_uncounted(one: Sealed) -> None:
    _whole(one)


def _whole(one: Sealed) -> None:
    assert balanced(one.arm)
    assert one.trial["lost_rows"] == 0
    assert (one.arm["ok"], one.arm["failures"]) == (one.arm["planned"], [])
    clients, servers = one.connections_of("client"), one.connections_of("server")
    assert len(clients) == len(servers) == one.arm["planned"]
    assert clients.random.is_unique
    assert set(clients.random) == set(servers.random)
    assert one.arm["connections"]["joined"] == one.arm["connections"]["accepted"] == one.arm["planned"]
    load = one.operations[one.operations.phase.isin(LOAD_PHASES)]
    assert len(load) == one.arm["planned"]


@every
def test_every_process_takes_part(one: Sealed) -> None:
    assert one.arm["processes"]["started"] == one.arm["topology"]["processes"]
    assert {(p["end"], p["status"], p["finished"]) for p in one.trial["processes"]} == {("exit", 0, True)}
    begun = one.connections_of("client").groupby("process").size().to_dict()
    share = one.trial["processes"]
    assert begun == {p["index"]: p["planned"] for p in share if p["role"] == "generator" and p["planned"]}


@pytest.mark.parametrize("one", [name for name in ARMS if "clients" in name], indirect=True)
def test_a_closed_loop_never_has_more_connections_than_clients(one: Sealed) -> None:
    rows = one.operations[one.operations.kind == "handshake"]
    assert len(rows.groupby(["process", "thread"])) <= one.arm["load"]["clients"]
    for _, mine in rows.sort_values("started_ns").groupby(["process", "thread"]):
        assert (mine.started_ns.values[1:] >= mine.ended_ns.values[:-1]).all()


def test_arrivals_beyond_the_connections_that_may_be_open_wait_and_are_not_dropped(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Ten thousand at a rate that no server keeps up with: more than twice what one generator may have open."""
    arms: dict[str, Tables] = {
        "backlog": {"topology": {"processes": 2}, "tls": FLOOR, "load": MORE_THAN_OPEN},
    }
    (one,) = run(tmp_path_factory.mktemp("backlog"), BASE, arms).values()
    _whole(one)
    assert one.arm["planned"] == 10_000
    rows = one.operations[one.operations.kind == "handshake"]
    assert rows.thread.nunique() == 4_096
    lag = (rows.started_ns - rows.intended_ns) / 1e6
    assert lag.max() > 1000 * MORE_THAN_OPEN["duration_s"]  # counted, and in the response
    assert one.arm["response_ms"]["max"] >= lag.max()


INTRUDERS = 600


@pytest.fixture
def few_files() -> Iterator[None]:
    """The soft limit that some shells have, and less; with room for what the tests before have left open here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = max(128, 64 + max(map(int, os.listdir("/proc/self/fd"))))
    assert few < INTRUDERS
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_files")
def test_a_shell_s_limit_of_open_files_is_neither_the_server_s_nor_the_generator_s(tmp_path: Path) -> None:
    load = {**OPEN, "rate_hz": 100, "intruders": {"silent": INTRUDERS}}
    arms: dict[str, Tables] = {"event": {"topology": {"kind": "event", "processes": 1}, "load": load}}
    (one,) = run(tmp_path, '[workload]\nkind = "handshake"\n[tls]\ntimeout_s = 3\n', arms).values()
    assert (one.arm["ok"], one.arm["fail"]) == (one.arm["planned"], 0)
    assert one.arm["connections"]["accepted"] == one.arm["planned"] + INTRUDERS
