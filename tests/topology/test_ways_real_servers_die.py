"""Ways for real servers not to start, or to die: each is named, nothing is left, and other servers are left alone."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

import lab.__main__
import lab.topology.site as site_module
import lab.topology.trial as trial_module
from lab import program
from lab.record.order import ServerOrder
from lab.servers.kinds import server_of
from lab.servers.model import Server, ServerLog, ServerName, Site
from lab.tokens.handing_over import hand_over
from lab.tokens.model import Secret
from tests.combined import Sealed, sealed
from tests.external_servers import apache, identity
from tests.runs import SERVERS, Place, balanced
from tests.secrecy import holders, needles
from tests.topology.test_ways_servers_die import free_port
from tests.topology.test_ways_to_die import claimed, root_of

PASSABLE = 0o711
WRONG_PIN = "4711-of-nobody"
SHORT = '[load]\narrivals = "paced"\nrate_hz = 50\nwarmup_s = 0\nduration_s = 0.2\n'
LONG = '[load]\narrivals = "paced"\nrate_hz = 100\nwarmup_s = 0\nduration_s = 30\n'
BEGUN = 12  # handshakes of the generator, from when on it is in its load
KINDS = {
    "httpd": '[tls]\nserver = "httpd"\n[topology]\nkind = "prefork"\nprocesses = 2\n',
    "httpd event daemon": (
        '[tls]\nserver = "httpd"\n[server]\nforeground = false\n[context]\nlocking = "os"\n'
        '[topology]\nkind = "event"\nprocesses = 2\nthreads = 2\n'
    ),
    "nginx": '[tls]\nserver = "nginx"\n[topology]\nprocesses = 2\n',
    "nginx daemon remote": (
        '[tls]\nserver = "nginx"\n[server]\nforeground = false\n[topology]\nprocesses = 1\n'
        '[token]\nkind = "p11kit-remote"\n'
    ),
    "stunnel daemon": '[tls]\nserver = "stunnel"\n[server]\nforeground = false\n',
}


def scenario(tables: str, load: str = SHORT, blocks: int = 1) -> str:
    return f'blocks = {blocks}\n[workload]\nkind = "handshake"\n{tables}{load}'


@pytest.fixture
def opened() -> Iterator[Path]:
    """A temporary folder that a server's workers can get to, as they cannot to the test's own."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        Path(folder).chmod(PASSABLE)
        yield Path(folder)


@pytest.fixture
def place(tmp_path: Path, opened: Path) -> Place:
    """Its run folder is closed to a server's workers."""
    assert any(not above.stat().st_mode & 0o001 for above in tmp_path.parents)
    return Place(tmp_path, opened)


@pytest.fixture(scope="module")
def system_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, set[int]]]:
    """An httpd that is not the lab's, with a ServerRoot of its own: its port and its processes."""
    folder = tmp_path_factory.mktemp("system")
    with apache(identity(folder / "own", "system.test"), folder / "root") as port:
        yield port, processes_at(folder / "root")


def processes_at(root: Path) -> set[int]:
    """Of the httpd whose pid file is in a folder."""
    master = psutil.Process(int((root / "httpd.pid").read_text()))
    return {master.pid, *(child.pid for child in master.children(recursive=True))}


def listened_at(port: int) -> bool:
    return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in psutil.net_connections("tcp4"))


@pytest.fixture(autouse=True)
def _others_are_left_alone(system_server: tuple[int, set[int]]) -> Iterator[None]:
    yield
    port, processes = system_server
    assert all(psutil.pid_exists(pid) and psutil.Process(pid).name() == "apache2" for pid in processes)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain):
        pass


# which do not start


@dataclass
class Tampered:
    """A server that is configured from another site than that of the trial, or whose configuration has a line more."""

    real: Server
    other: Callable[[Site], Site]
    line: str = ""  # more of its configuration
    from_site: int = 1  # the first of a run's sites that is another one
    sites: list[Site] = field(default_factory=list)

    @property
    def name(self) -> ServerName:
        return self.real.name

    def version(self) -> str:
        return self.real.version()

    def read_log(self, folder: Path) -> ServerLog:
        return self.real.read_log(folder)

    def configure(self, site: Site) -> ServerOrder:
        self.sites.append(site)
        if len(self.sites) < self.from_site:
            return self.real.configure(site)
        order = self.real.configure(self.other(site))
        with (site.folder / f"{self.name}.conf").open("a") as file:
            file.write(self.line)
        return order


@dataclass(frozen=True)
class Refused:
    """Why one does not start, and what its own last words tell of it."""

    server: ServerName
    says: str
    other: Callable[[Site], Site] = lambda site: site
    line: str = ""
    tables: str = ""
    takes_port: bool = False
    closes_token: bool = False


def _wrong_pin(site: Site) -> Site:
    return replace(site, pin=Secret(WRONG_PIN))


def _no_such_key(site: Site) -> Site:
    return replace(site, hosts=(replace(site.hosts[0], key_label="nobody-s-key"),))


def _not_of_a_token(folder: Path, user: str) -> None:
    if folder.name != trial_module.TOKEN:
        hand_over(folder, user)


PROXY = '[token]\nkind = "p11kit-proxy"\n'
REFUSED = {
    "httpd, wrong PIN": Refused("httpd", "PIN incorrect", _wrong_pin),
    "httpd with the provider, wrong PIN": Refused(
        "httpd", "CKR_PIN_INCORRECT", _wrong_pin, tables='bridge = "provider"\n'
    ),
    "nginx, wrong PIN": Refused("nginx", "PIN incorrect", _wrong_pin),
    "stunnel, wrong PIN": Refused("stunnel", "PIN incorrect", _wrong_pin),
    "httpd, no such key": Refused("httpd", "object not found", _no_such_key),
    "nginx, no such key": Refused("nginx", "object not found", _no_such_key),
    "stunnel, no such key": Refused("stunnel", "object not found", _no_such_key),
    "httpd, bad configuration": Refused("httpd", "Invalid command 'LabNonsense'", line="LabNonsense on\n"),
    "nginx, bad configuration": Refused("nginx", 'unknown directive "LabNonsense"', line="LabNonsense on;\n"),
    "stunnel, bad configuration": Refused("stunnel", "LabNonsense", line="LabNonsense = on\n"),
    "httpd, port in use": Refused("httpd", "Address already in use", takes_port=True),
    "nginx, port in use": Refused("nginx", "Address already in use", takes_port=True),
    "stunnel, port in use": Refused("stunnel", "Address already in use", takes_port=True),
    "httpd as a daemon, wrong PIN": Refused(
        "httpd", "PIN incorrect", _wrong_pin, tables="[server]\nforeground = false\n"
    ),
    "httpd, closed token": Refused("httpd", "AH0", tables=PROXY, closes_token=True),
    "nginx, closed token": Refused("nginx", "emerg", tables=PROXY, closes_token=True),
    "stunnel, closed token": Refused("stunnel", "[!]", tables=PROXY, closes_token=True),
}


@dataclass
class InProcess:
    """The command line in this process, so that what happens between the look before and the start can be changed."""

    place: Place
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def run(self, text: str, tampered: Tampered) -> tuple[int, str]:
        """Status and stderr."""
        path = self.place.folder / "scenario.toml"
        path.write_text(text)
        words = ["lab", str(path), "--out", str(self.place.out), "--quiet"]
        self.monkeypatch.setattr("sys.argv", words)
        self.monkeypatch.setattr(tempfile, "tempdir", str(self.place.temporary))
        self.monkeypatch.setenv("LAB_TEST_MARK", self.place.mark)
        self.monkeypatch.setattr(site_module, "server_of", lambda name: tampered)
        with pytest.raises(SystemExit) as ended:
            lab.__main__.main()
        return int(ended.value.code or 0), self.capsys.readouterr().err


@pytest.fixture
def in_process(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    return InProcess(place, monkeypatch, capsys)


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_one_that_does_not_start_says_why_in_one_line_and_leaves_nothing(
    refused: Refused, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampered = Tampered(server_of(refused.server), refused.other, refused.line)
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        if refused.takes_port:
            monkeypatch.setattr(trial_module, "free_port", lambda addresses: other.getsockname()[1])
        if refused.closes_token:  # it is started as another user, who is not given the token
            monkeypatch.setattr(site_module, "hand_over", _not_of_a_token)
        status, err = in_process.run(scenario(f'[tls]\nserver = "{refused.server}"\n{refused.tables}'), tampered)
    assert status == 1
    (line,) = [line for line in err.splitlines() if "lab fault" in line]
    assert f"lab fault: {refused.server} did not start: " in line
    assert refused.says in line
    for pin in (tampered.sites[0].pin.reveal(), WRONG_PIN):
        assert pin not in err
        assert holders(in_process.place.out, pin) == []
    assert "Traceback" not in err
    assert in_process.place.leftovers() == []
    assert not listened_at(tampered.sites[0].port)


def test_trials_before_one_that_does_not_start_are_kept_and_judged(in_process: InProcess) -> None:
    tampered = Tampered(server_of("nginx"), _no_such_key, from_site=2)
    status, err = in_process.run(scenario(KINDS["nginx"], blocks=3), tampered)
    assert status == 1
    assert "lab fault: nginx did not start: " in err
    assert len(tampered.sites) == 2
    (arm,) = in_process.place.summary()["arms"].values()
    assert in_process.place.summary()["partial"] is True
    assert balanced(arm)
    assert arm["ok"] == arm["connections"]["joined"] == arm["planned"] / 2 > 0
    assert arm["shed"] == arm["ok"]  # of the trial that had no server; the third did not begin
    assert in_process.place.trial(1)["server"]["name"] == "nginx"
    assert in_process.place.leftovers() == []


@pytest.mark.parametrize(
    ("server", "variable", "package"),
    [("httpd", "LAB_HTTPD", "apache2"), ("nginx", "LAB_NGINX", "nginx"), ("stunnel", "LAB_STUNNEL", "stunnel4")],
)
def test_a_missing_program_is_said_with_its_package_before_anything_starts(
    server: str, variable: str, package: str, place: Place
) -> None:
    path = place.folder / "scenario.toml"
    path.write_text(scenario(f'[tls]\nserver = "{server}"\n'))
    done = place.run(path, environment={variable: "/nonexistent"})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"tls.server: {server}: {variable} names /nonexistent" in line
    assert f"package {package} " in line
    assert done.stdout == ""
    assert not place.out.exists()
    assert place.leftovers() == []


# which are ended, or die


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


@pytest.fixture
def load(place: Place) -> Callable[..., Loaded]:
    def start(kind: str, more: str = "", *options: str) -> Loaded:
        port = free_port()
        path = place.folder / "scenario.toml"
        tables = KINDS[kind].replace("[tls]\n", f"[tls]\nport = {port}\n{more}")
        path.write_text(scenario(tables, LONG))
        running = place.start(path, "--quiet", *options)
        while not any(claimed(rows) > BEGUN for rows in place.out.glob("trials/0001-*/operations-1.rows")):
            assert running.poll() is None, running.communicate()
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
    reported = subprocess.run(program.command("lab", "report", out), env=program.environment(), check=False)
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
