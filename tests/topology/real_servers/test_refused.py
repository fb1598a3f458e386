"""Ways for real servers not to start: each is named in one line, without a PIN, and nothing is left."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import lab.__main__
import lab.topology.site as site_module
import lab.topology.trial as trial_module
from lab.record.order import ServerOrder
from lab.servers.kinds import server_of
from lab.servers.model import Server, ServerLog, ServerName, Site
from lab.tokens.handing_over import hand_over
from lab.tokens.model import Secret
from tests.runs import Place, balanced
from tests.secrecy import holders
from tests.topology.real_servers.conftest import KINDS, WRONG_PIN, listened_at, scenario


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


def test_the_root_and_its_generators_are_not_told_what_the_server_is(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its openssl.cnf has the PIN, and would load engine or provider in whoever reads it."""
    told: list[dict[str, str]] = []

    def plays(bench: object, folder: Path, order: object, environment: dict[str, str]) -> None:
        told.append(environment)
        raise OSError(0, "that was all")

    monkeypatch.setattr(trial_module, "_play", plays)
    status, _ = in_process.run(scenario(KINDS["nginx"]), Tampered(server_of("nginx"), lambda site: site))
    assert status == 1
    assert [environment["OPENSSL_CONF"] for environment in told] == [os.devnull]
