"""Handshakes with servers that the lab did not start: Python's, OpenSSL's, Apache's, and some that are wrong."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab import program
from tests.combined import Sealed, Tables, run
from tests.external_servers import HOST, apache, free_port, identity, python_server, s_server, silent
from tests.runs import balanced

PLANNED = 12
OPEN: dict[str, Any] = {"mode": "open", "arrivals": "paced", "rate_hz": 80, "warmup_s": 0.05, "duration_s": 0.1}
CLOSED: dict[str, Any] = {"mode": "closed", "clients": 3, "generators": 2, "warmup_s": 0, "duration_s": 0.1}
BASE = f'[workload]\nkind = "handshake"\n[tls]\nserver = "external"\nhost = "{HOST}"\ntimeout_s = 0.4\n'

WELL = [" ".join(one) for one in product(("python", "s_server", "httpd"), ("1.2", "1.3"), ("open", "closed"))]
WRONG = {
    "unknown authority": ("tls", "wrong certificate"),
    "another host name": ("tls", "wrong certificate"),
    "another address": ("tls", "wrong certificate"),
    "nobody listens": ("network", "refused (ECONNREFUSED)"),
    "only 1.2 there": ("tls", "alert protocol_version received"),
    "only 1.3 there": ("tls", "alert protocol_version received"),
    "says nothing": ("network", "timed out (ETIMEDOUT)"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("external")


@pytest.fixture(scope="module")
def arms(folder: Path) -> dict[str, Sealed]:
    """One run against all servers, which are gone afterwards."""
    with ExitStack() as stack:
        ours = identity(folder / "ours", "localhost")
        stranger = identity(folder / "stranger", "elsewhere.lab.test", addresses=("127.0.0.9",))
        trust = str(ours.trust)
        ports = {
            "python": stack.enter_context(python_server(ours)),
            "s_server": stack.enter_context(s_server(ours)),
            "httpd": stack.enter_context(apache(ours, folder / "httpd")),
        }
        elsewhere = stack.enter_context(python_server(stranger))
        only = {version: stack.enter_context(python_server(ours, version)) for version in ("1.2", "1.3")}
        arms: dict[str, Tables] = {}
        for name in WELL:
            server, version, mode = name.split()
            tls = {"port": ports[server], "version": version, "trust": trust}
            arms[name] = {"tls": tls, "load": OPEN if mode == "open" else CLOSED}
        wrong: dict[str, dict[str, Any]] = {
            "unknown authority": {"port": ports["python"], "trust": str(stranger.trust)},
            "another host name": {"port": elsewhere, "trust": str(stranger.trust), "host": "localhost"},
            "another address": {"port": elsewhere, "trust": str(stranger.trust)},
            "nobody listens": {"port": free_port(), "trust": trust},
            "only 1.2 there": {"port": only["1.2"], "trust": trust, "version": "1.3"},
            "only 1.3 there": {"port": only["1.3"], "trust": trust, "version": "1.2"},
            "says nothing": {"port": stack.enter_context(silent()), "trust": trust},
        }
        arms |= {name: {"tls": tls, "load": OPEN} for name, tls in wrong.items()}
        arms["by name"] = {"tls": {"port": ports["python"], "trust": trust, "host": "localhost"}, "load": OPEN}
        return run(folder / "runs", BASE, arms)


@pytest.fixture
def one(arms: dict[str, Sealed], request: pytest.FixtureRequest) -> Sealed:
    return arms[request.param]


every = pytest.mark.parametrize("one", [*WELL, "by name", *WRONG], indirect=True)


@pytest.mark.parametrize("one", [*WELL, "by name"], indirect=True)
def test_every_handshake_with_a_server_that_is_right_ends_well(one: Sealed) -> None:
    arm = one.arm
    assert balanced(arm)
    assert arm["failures"] == []
    assert arm["ok"] == arm["verified"] == arm["planned"]
    assert arm["planned"] == PLANNED or arm["load"]["mode"] == "closed"
    assert arm["service_ms"]["p50"] > 0
    version = {"1.2": 0x0303, "1.3": 0x0304}[arm["tls"]["version"]]
    assert set(one.connections.version) == {version}
    assert one.connections.random.is_unique
    assert set(one.connections.resumed) == {0}


@pytest.mark.parametrize(("one", "why"), WRONG.items(), indirect=["one"], ids=WRONG)
def test_what_is_wrong_with_a_server_is_named_on_each_handshake(one: Sealed, why: tuple[str, str]) -> None:
    arm = one.arm
    assert balanced(arm)
    assert (arm["ok"], arm["fail"], arm["info"], arm["shed"]) == (0, PLANNED, 0, 0)
    assert [(*why, PLANNED)] == [(f["layer"], f["code"], f["count"]) for f in arm["failures"]]
    assert arm["service_ms"]["p50"] is None


@every
def test_nothing_of_a_token_a_context_or_a_topology_is_claimed(one: Sealed) -> None:
    arm = one.arm
    nothing = ("token", "context", "session", "locking", "bridge", "fork_point", "start", "where_ms")
    assert [arm[key] for key in nothing] == [None] * len(nothing)
    assert arm["server"] == "external"
    assert arm["topology"] == {"kind": None, "processes": 0, "threads": 0}
    assert arm["processes"] == {"started": 0, "crashed": 0, "hung": 0, "pss_mib_p50": None}
    assert arm["connections"]["accepted"] is arm["connections"]["joined"] is arm["connections"]["join_share"] is None
    assert arm["hosts"]["count"] is None
    assert set(arm["sessions"].values()) == {0}
    exercised = {rule for rule, found in arm["rules"].items() if found["verdict"] != "not-exercised"}
    assert exercised <= {"no-crash", "no-hang"}
    assert one.calls.empty
    assert one.workers == []
    assert set(one.connections.side) == {"client"}


def test_the_servers_are_all_gone(arms: dict[str, Sealed], folder: Path) -> None:
    assert arms
    assert [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or ())] == []


def test_the_report_of_such_a_run_is_rebuilt_to_the_byte_and_shows_each_arm(
    arms: dict[str, Sealed], folder: Path
) -> None:
    out = folder / "runs" / "run"
    before = (out / "summary.json").read_bytes()
    done = subprocess.run(
        program.command("lab", "report", "--no-page", str(out)),
        env=program.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (out / "summary.json").read_bytes() == before
    assert json.loads(before)["valid"] is True
    assert done.stderr == ""
    for name in arms:
        assert name.split()[0] in done.stdout
