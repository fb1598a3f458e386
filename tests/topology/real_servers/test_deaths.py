"""Ways for real servers to die: each is named, nothing is left, and other servers are left alone."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lab import program
from lab.record import dtypes
from lab.record.rowfile import read_rows
from lab.topology.site import free_port
from tests.combined import Sealed, sealed
from tests.runs import SERVERS, Place, balanced, until
from tests.secrecy import holders, needles
from tests.topology.real_servers.conftest import BEGUN, KINDS, LONG, SHORT, listened_at, scenario
from tests.topology.test_ways_to_die import root_of


@dataclass
class Loaded:
    """A run of the lab whose server is in the middle of its load."""

    place: Place
    running: subprocess.Popen[str]
    port: int
    root: psutil.Process

    @property
    def servers(self) -> list[psutil.Process]:
        """Its processes, the master first."""
        found = [process for process in self.place.processes() if process.name() in SERVERS]
        return sorted(found, key=lambda process: process.pid)

    def end(self) -> tuple[int, str]:
        """Status and stderr, when nothing of it is left."""
        _, err = self.running.communicate()
        assert self.place.leftovers() == []
        assert not listened_at(self.port)
        return self.running.returncode, err

    def one(self) -> Sealed:
        (found,) = sealed(self.place).values()
        return found


def ended(path: Path) -> int:
    """Handshakes that came to their end, of a generator that may be at work on others."""
    file = read_rows(path, dtypes.OPERATION)
    return 0 if file is None else int((file.rows["state"] == dtypes.ENDED).sum())


@pytest.fixture
def load(place: Place) -> Callable[..., Loaded]:
    def start(kind: str, more: str = "", *options: str) -> Loaded:
        port = free_port(("127.0.0.1",))
        path = place.folder / "scenario.toml"
        tables = KINDS[kind].replace("[tls]\n", f"[tls]\nport = {port}\n{more}")
        path.write_text(scenario(tables, LONG))
        running = place.start(path, "--quiet", *options)

        def begun() -> bool:
            assert running.poll() is None, running.communicate()
            return any(ended(rows) > BEGUN for rows in place.out.glob("trials/0001-*/operations-1.rows"))

        until(begun)
        return Loaded(place, running, port, root_of(place))

    return start


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_coordinator_leaves_calls_that_can_be_reported_and_nothing_that_runs(
    kind: str, load: Callable[..., Loaded]
) -> None:
    loaded = load(kind)
    assert loaded.servers
    if kind == "nginx daemon remote":
        assert any("p11-kit" in process.name() for process in loaded.place.processes())
    loaded.running.kill()
    loaded.end()
    out = str(loaded.place.out)
    reported = subprocess.run(
        program.command("lab", "report", "--no-page", out), env=program.environment(), check=False
    )
    assert reported.returncode in (0, 1)
    assert loaded.place.summary()["partial"] is True
    one = loaded.one()
    assert balanced(one.arm)
    assert one.arm["verified"] == one.arm["ok"] > 0
    assert len(one.calls[one.calls.function == "C_Sign"]) >= BEGUN  # of workers that may not write to the run folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("kind", ["httpd", "nginx daemon remote", "stunnel daemon"])
def test_an_interrupted_run_seals_what_was_measured(
    kind: str, number: signal.Signals, load: Callable[..., Loaded]
) -> None:
    loaded = load(kind)
    loaded.running.send_signal(number)
    status, err = loaded.end()
    assert status == 130, err
    one = loaded.one()
    assert one.trial["partial"] is True
    assert balanced(one.arm)
    assert one.arm["ok"] > 0
    assert one.arm["connections"]["join_share"] >= 0.999
    signed = one.arm["connections"]["signed"]
    assert signed["found"] == signed["same_process"] == signed["of"] > 0


@pytest.mark.parametrize("kind", ["httpd event daemon", "nginx", "stunnel daemon"])
def test_a_server_of_a_root_that_dies_ends_with_it(kind: str, load: Callable[..., Loaded]) -> None:
    loaded = load(kind)
    loaded.root.kill()
    loaded.end()
    one = loaded.one()
    assert {p["end"] for p in one.trial["processes"] if p["role"] in ("worker", "generator")} <= {"root-died"}
    assert one.root["end"] == "signal"
    assert balanced(one.arm)
    assert one.arm["ok"] > 0


@pytest.mark.parametrize("kind", ["httpd", "nginx"])
def test_workers_of_a_master_that_is_killed_do_not_outlive_the_trial(kind: str, load: Callable[..., Loaded]) -> None:
    loaded = load(kind, "", "--set", "load.duration_s=1")
    master = loaded.servers[0]
    workers = {child.pid for child in master.children()}
    assert len(workers) == 2
    master.kill()
    loaded.end()
    one = loaded.one()
    ends = {p["pid"]: (p["role"], p["end"], p["status"]) for p in one.trial["processes"]}
    assert ends[master.pid] == ("master", "signal", signal.SIGKILL)
    assert workers <= ends.keys()
    assert ("signal", "SIGKILL") in {(failure["layer"], failure["code"]) for failure in one.arm["failures"]}
    assert balanced(one.arm)
    assert one.arm["ok"] > 0


def test_a_worker_that_stops_for_ever_is_a_hang(load: Callable[..., Loaded]) -> None:
    loaded = load("httpd", "timeout_s = 0.3\n", "--set", "load.duration_s=1")
    victim = loaded.servers[-1]
    victim.suspend()
    loaded.end()
    one = loaded.one()
    assert {p["pid"] for p in one.trial["processes"] if p["end"] == "hang"} == {victim.pid}
    assert one.arm["processes"]["hung"] == 1
    assert balanced(one.arm)


def test_a_trial_that_takes_too_long_is_ended_with_its_server(load: Callable[..., Loaded]) -> None:
    loaded = load("httpd", "", "--set", "load.duration_s=1", "--set", "timeout_s=2")
    (generator,) = [p for p in loaded.root.children() if "lab.worker.generator" in " ".join(p.cmdline())]
    generator.suspend()
    status, _ = loaded.end()
    assert status == 1
    one = loaded.one()
    assert [p["end"] for p in one.generators] == ["hang"]
    assert balanced(one.arm)


# the PIN


def test_the_pin_is_in_no_command_no_environment_and_no_file_of_the_run(place: Place) -> None:
    arms = "".join(
        f'[[arm]]\nname = "{name}"\ntls.server = "{server}"\n{more}'
        for name, server, more in (
            ("httpd", "httpd", ""),
            ("httpd provider", "httpd", 'tls.bridge = "provider"\nserver.foreground = false\n'),
            ("nginx remote", "nginx", 'token.kind = "p11kit-remote"\n'),
            ("nginx provider", "nginx", 'tls.bridge = "provider"\n'),
            ("stunnel", "stunnel", 'token.kind = "p11kit-proxy"\n'),
        )
    )
    path = place.folder / "scenario.toml"
    path.write_text(scenario("", SHORT) + arms)
    running = place.start(path)
    pins: set[str] = set()
    shown: dict[str, set[str]] = {}  # by the name of the program
    for process in place.watched(running):
        with contextlib.suppress(FileNotFoundError):  # its trial has just ended
            for file in place.temporary.glob("*/*/*/openssl.cnf"):
                pins |= set(re.findall(r"^(?:PIN|pkcs11-module-token-pin) = (.+)$", file.read_text(), re.MULTILINE))
        try:
            seen = shown.setdefault(process.name(), set())
            seen |= {" ".join(process.cmdline()), *(f"{k}={v}" for k, v in process.environ().items())}
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert len(pins) == 3  # one for each kind of token
    assert {"apache2", "nginx", "p11-kit-server"} <= shown.keys()
    assert any(name.startswith("stunnel") for name in shown)
    texts = [text.encode() for text in (out, err, *(each for some in shown.values() for each in some))]
    for pin in pins:
        assert holders(place.out, pin) == []
        assert [text for text in texts if any(needle in text for needle in needles(pin))] == []
    assert place.leftovers() == []
