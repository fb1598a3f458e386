"""Runs of handshakes that lose all servers, their generator, their root or their coordinator: what is left of them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lab import program
from lab.topology.site import free_port
from tests.combined import sealed
from tests.runs import Place, balanced, shared_memory, until
from tests.topology.conftest import Mischief
from tests.topology.serving import HANDSHAKES, HERE, IN_WORDS, OPEN, RELOADED, SHAPES, balanced_and_joined, is_free
from tests.topology.test_ways_to_die import claimed, root_of

LONG = '[load]\nmode = "open"\nrate_hz = 100\nwarmup_s = 0\nduration_s = 30\n'


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
    balanced_and_joined(one)
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
    reported = subprocess.run(
        program.command("lab", "report", "--no-page", str(place.out)), env=program.environment(), check=False
    )
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
    reported = subprocess.run(
        program.command("lab", "report", "--no-page", str(place.out)), env=program.environment(), check=False
    )
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
    until(lambda: any(claimed(path) > 12 for path in place.out.glob("trials/0001-*/operations-4.rows")))
    return root_of(place)


def generator_of(root: psutil.Process) -> psutil.Process:
    (found,) = [child for child in root.children() if "lab.worker.generator" in " ".join(child.cmdline())]
    return found
