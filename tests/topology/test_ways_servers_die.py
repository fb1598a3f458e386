"""Ways for a server to die under its clients, in a table: each is named on both sides, and nothing is left behind."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lab import program
from lab.topology.site import free_port
from tests.combined import Sealed, sealed
from tests.runs import Place, balanced, shared_memory
from tests.topology.conftest import Mischief
from tests.topology.test_ways_to_die import claimed, root_of

HANDSHAKES = '[workload]\nkind = "handshake"\n'
RELOADED = '[context]\npolicy = "reinit"\n'  # the root maps the module too, so it can tell who is a child
OPEN = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 200\nwarmup_s = 0\nduration_s = 0.5\n'
LONG = '[load]\nmode = "open"\nrate_hz = 100\nwarmup_s = 0\nduration_s = 30\n'
SHAPES = {
    "prefork": 'kind = "prefork"\nprocesses = 3\n',
    "worker": 'kind = "worker"\nprocesses = 3\nthreads = 2\n',
    "event": 'kind = "event"\nprocesses = 3\n',
}
HERE = ("127.0.0.1",)


@dataclass(frozen=True)
class Death:
    """How one server dies, and what the record must say of it."""

    mischief: str
    end: str
    status: int
    layer: str
    code: str
    last_call: str


DEATHS = {
    "SIGSEGV in a handshake": Death("sigsegv@C_Sign#3", "signal", signal.SIGSEGV, "signal", "SIGSEGV", "C_Sign"),
    "SIGKILL in a handshake": Death("sigkill@C_Sign#3", "signal", signal.SIGKILL, "signal", "SIGKILL", "C_Sign"),
    "exit(0) in a handshake": Death("exit0@C_Sign#3", "exit", 0, "exit", "exit status 0 in mid-operation", "C_Sign"),
    "a hang in a handshake": Death("hang@C_Sign#3", "hang", 0, "hang", "hung in C_Sign", "C_Sign"),
    "SIGSEGV in the set-up": Death("sigsegv@C_Login#1", "signal", signal.SIGSEGV, "signal", "SIGSEGV", "C_Login"),
    "SIGKILL in the set-up": Death("sigkill@C_Login#1", "signal", signal.SIGKILL, "signal", "SIGKILL", "C_Login"),
    "exit(0) in the set-up": Death("exit0@C_Login#1", "exit", 0, "exit", "exit status 0 in mid-operation", "C_Login"),
    "a hang in the set-up": Death("hang@C_Login#1", "hang", 0, "hang", "hung in C_Login", "C_Login"),
}
IN_WORDS = {"reset (ECONNRESET)", "closed in mid-handshake", "timed out (ETIMEDOUT)"}
"""What a client may see of a server that dies: its own sockets are closed by the kernel, or by nobody."""


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_server_that_dies_is_named_on_both_sides_and_the_others_go_on(
    death: Death, shape: str, place: Place, mischief: Mischief
) -> None:
    before, port = shared_memory(), free_port(HERE)
    tls = f"[tls]\nport = {port}\ntimeout_s = 0.5\n"
    tables = f"[topology]\n{SHAPES[shape]}{RELOADED}{HANDSHAKES}{tls}{OPEN}"
    path = mischief.scenario(death.mischief, tables)
    done = place.run(path, "--quiet", "--set", "timeout_s=4", environment=mischief.environment)
    is_free(port)
    assert done.returncode == 0, done.stderr
    assert mischief.happened
    (one,) = sealed(place).values()
    odd = [p for p in one.trial["processes"] if p["end"] != "exit" or not p["finished"]]
    assert [(p["end"], p["status"], p["last_call"]) for p in odd] == [(death.end, death.status, death.last_call)]
    _balanced_and_joined(one)
    named = {(f["layer"], f["code"]): f["processes"] for f in one.arm["failures"]}
    assert named[death.layer, death.code] == 1
    in_setup = death.last_call == "C_Login"
    _clients_say(one, in_setup)
    crashed, hung = int(death.end == "signal"), int(death.end == "hang")
    assert (one.arm["processes"]["crashed"], one.arm["processes"]["hung"]) == (crashed, hung)
    if hung:
        (stack,) = place.out.glob("trials/*/stack-*.txt")
        assert "mischief_hang" in stack.read_text()
    if not in_setup:
        _has_its_client(one, odd[0]["index"])
    assert place.leftovers() == []
    assert shared_memory() <= before  # others may take theirs away meanwhile


def _balanced_and_joined(one: Sealed) -> None:
    assert balanced(one.arm)
    assert one.arm["ok"] > 0
    assert one.arm["shed"] == one.arm["info"] == 0
    assert one.arm["connections"]["join_share"] == 1.0
    assert one.trial["lost_rows"] == 0


def _clients_say(one: Sealed, in_setup: bool) -> None:
    said = {f["code"]: f["count"] for f in one.arm["failures"] if f["side"] == "client"}
    assert sum(said.values()) == one.arm["fail"] == one.arm["planned"] - one.arm["ok"]
    assert said.keys() <= IN_WORDS
    assert bool(said) is not in_setup  # who dies before it serves has no clients


def _has_its_client(one: Sealed, victim: int) -> None:
    """The handshake in whose signature the server died is found from its client's side."""
    served = one.connections_of("server")
    unfinished = served[(served.process == victim) & (served.ended_ns == 0) & (served.random != 0)]
    assert len(unfinished) >= 1
    assert set(unfinished.random) <= set(one.connections_of("client").random)


@pytest.mark.parametrize("shape", SHAPES)
def test_when_every_server_has_died_clients_wait_as_long_as_they_are_told_to(
    shape: str, place: Place, mischief: Mischief
) -> None:
    """The root still listens, as the parent of real servers does: the kernel takes connections that nobody accepts."""
    tls = f"[tls]\nport = {(port := free_port(HERE))}\ntimeout_s = 0.3\n"
    tables = f"[topology]\n{SHAPES[shape]}{RELOADED}{HANDSHAKES}{tls}{OPEN}"
    path = mischief.scenario("sigsegv@C_Sign#3", tables, once=False)
    done = place.run(path, "--quiet", environment=mischief.environment)
    is_free(port)
    assert done.returncode == 0, done.stderr
    (one,) = sealed(place).values()
    _balanced_and_joined(one)
    assert one.arm["processes"]["crashed"] == 3
    said = {f["code"]: f["count"] for f in one.arm["failures"] if f["side"] == "client"}
    assert said.keys() <= IN_WORDS
    assert said["timed out (ETIMEDOUT)"] > 0
    assert sum(said.values()) == one.arm["fail"] == one.arm["planned"] - one.arm["ok"]
    assert place.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["SIGKILL", "SIGSEGV"])
def test_without_its_generator_a_run_is_invalid_and_says_so(
    number: signal.Signals, place: Place, scenario: Callable[[str], Path]
) -> None:
    running = place.start(scenario(_long(port := free_port(HERE))), "--quiet")
    root = in_load(place)
    generator_of(root).send_signal(number)
    _, err = running.communicate()
    is_free(port)
    assert running.returncode == 1
    summary = place.summary()
    assert summary["valid"] is False
    assert f"the load generator (process 4) crashed: {number.name}" in "".join(summary["invalid_because"])
    assert number.name in err
    (arm,) = summary["arms"].values()
    assert balanced(arm)
    assert arm["ok"] > 0
    assert arm["info"] <= 1 + arm["shed"]
    (one,) = sealed(place).values()
    assert {worker["end"] for worker in one.workers} == {"exit"}
    assert one.arm["connections"]["join_share"] >= 0.999
    assert place.leftovers() == []


def test_servers_and_generator_of_a_root_that_dies_end_with_it(place: Place, scenario: Callable[[str], Path]) -> None:
    running = place.start(scenario(_long(port := free_port(HERE))))
    in_load(place).kill()
    running.communicate()
    is_free(port)
    (one,) = sealed(place).values()
    assert [p["end"] for p in one.trial["processes"]] == ["signal", *["root-died"] * 4]
    assert balanced(one.arm)
    assert one.arm["ok"] > 0
    assert one.arm["connections"]["join_share"] >= 0.999
    assert place.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_interrupted_run_of_handshakes_seals_what_was_measured(
    shape: str, number: signal.Signals, place: Place, scenario: Callable[[str], Path]
) -> None:
    running = place.start(scenario(_long(port := free_port(HERE), shape)))
    in_load(place)
    running.send_signal(number)
    _, err = running.communicate()
    is_free(port)
    assert running.returncode == 130, err
    (one,) = sealed(place).values()
    assert one.trial["partial"] is True
    assert balanced(one.arm)
    assert one.arm["ok"] > 0
    assert one.arm["connections"]["join_share"] >= 0.999
    assert place.leftovers() == []
    reported = subprocess.run(program.command("lab", "report", str(place.out)), env=program.environment(), check=False)
    assert reported.returncode in (0, 1, 130)
    assert place.summary()["arms"]["per-process"]["ok"] == one.arm["ok"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_killed_coordinator_leaves_handshakes_that_can_be_reported(
    shape: str, place: Place, scenario: Callable[[str], Path]
) -> None:
    before = shared_memory()
    running = place.start(scenario(_long(port := free_port(HERE), shape)))
    in_load(place)
    running.kill()
    running.communicate()
    assert place.leftovers() == []
    is_free(port)
    assert shared_memory() <= before
    recorded = sum(claimed(path) for path in place.out.glob("trials/*/connections-*.rows"))
    reported = subprocess.run(program.command("lab", "report", str(place.out)), env=program.environment(), check=False)
    assert reported.returncode in (0, 1)
    assert place.summary()["partial"] is True
    (one,) = sealed(place).values()
    assert balanced(one.arm)
    assert one.arm["verified"] == one.arm["ok"] > 0
    assert one.arm["connections"]["join_share"] >= 0.999
    assert len(one.connections) == recorded


def _long(port: int, shape: str = "prefork") -> str:
    return f"blocks = 1\n[topology]\n{SHAPES[shape]}{HANDSHAKES}[tls]\nport = {port}\n{LONG}"


def in_load(place: Place) -> psutil.Process:
    """The trial root, once its clients have begun a dozen handshakes."""
    while not any(claimed(path) > 12 for path in place.out.glob("trials/0001-*/operations-4.rows")):
        pass
    return root_of(place)


def generator_of(root: psutil.Process) -> psutil.Process:
    (found,) = [child for child in root.children() if "lab.worker.generator" in " ".join(child.cmdline())]
    return found


def is_free(port: int) -> None:
    """Fails where a listener has it, or a connection of it waits for its end (TIME_WAIT)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))  # no SO_REUSEADDR
    assert [c for c in psutil.net_connections("tcp4") if c.laddr and c.laddr.port == port] == []
