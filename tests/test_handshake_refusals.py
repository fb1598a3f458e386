"""Handshakes that cannot be: status 2, one line that names the key, and nothing made, lost or left behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.native import library
from lab.tokens.certificates import Authority
from lab.tokens.model import TokenAccess
from tests.runs import Place
from tests.tokens.conftest import Settings, access, foreign, golden
from tests.topology.test_handshake_modules import objects, public_key, token_table

__all__ = ["access", "foreign", "golden"]

LOAD = '[load]\nmode = "open"\nrate_hz = 50\nwarmup_s = 0\nduration_s = 0.1\n'
HANDSHAKE = f'blocks = 1\n{LOAD}[topology]\nprocesses = 2\n[workload]\nkind = "handshake"\n'
EXTERNAL = f'blocks = 1\n{LOAD}[workload]\nkind = "handshake"\n[tls]\nserver = "external"\n'
RSA = HANDSHAKE + 'key = "rsa-2048"\n'


@dataclass(frozen=True)
class Refused:
    """A scenario, what the message names, and the environment that it needs."""

    text: str
    fragments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


REFUSED = {
    "no shared cipher": Refused(
        HANDSHAKE + '[tls]\nversion = "1.2"\nciphers = "ECDHE-RSA-AES128-GCM-SHA256"\n',
        ("tls.ciphers", "no shared cipher", "ec-p256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ),
    "no cipher at all": Refused(
        HANDSHAKE + '[tls]\nversion = "1.2"\nciphers = "nonsense"\n', ("tls.ciphers", "names no cipher")
    ),
    "more vhosts than addresses": Refused(
        HANDSHAKE + '[tls]\nvhosts = 300\nvhost_by = "ip"\n', ("tls.vhosts", "more vhosts than addresses", "253", "sni")
    ),
    "no engine": Refused(
        HANDSHAKE + '[tls]\nbridge = "engine"\n',
        ("tls.bridge", "engine", "LAB_ENGINE", "/nowhere/engine.so", "no file"),
        (("LAB_ENGINE", "/nowhere/engine.so"),),
    ),
    "no provider": Refused(
        HANDSHAKE + '[tls]\nbridge = "provider"\n',
        ("tls.bridge", "provider", "LAB_PROVIDER", "/nowhere/provider.so", "no file"),
        (("LAB_PROVIDER", "/nowhere/provider.so"),),
    ),
    "a library that is not there": Refused(
        HANDSHAKE + '[tls]\nbridge = "engine"\nbridge_library = "no-such.so"\n',
        ("tls.bridge_library", "no-such.so", "no file", "the installed one"),
    ),
    "a library that is no provider": Refused(
        HANDSHAKE + f'[tls]\nbridge = "provider"\nbridge_library = "{library("tap")}"\n',
        ("tls.bridge_library", "provider", "that OpenSSL could load"),
    ),
    "static RSA with an engine": Refused(
        RSA + '[tls]\nversion = "1.2"\nkey_exchange = "rsa"\nbridge = "engine"\n',
        ("tls.key_exchange", "engine", "direct, provider, software"),
    ),
    "an unknown key": Refused(HANDSHAKE + '[tls]\ncertficate = "c.pem"\n', ("tls.certficate", "certificate")),
    "a key that was never there": Refused(
        HANDSHAKE + "[tls]\nxyzzy = 1\n", ("tls.xyzzy", "no such key", "certificate, key_exchange")
    ),
    "an external host without an address": Refused(
        EXTERNAL + 'host = "a..b"\nport = 443\n',
        ("tls.host", "a..b", "no address"),
    ),
    "trust that is not there": Refused(
        EXTERNAL + 'host = "127.0.0.1"\nport = 443\ntrust = "no-such.pem"\n',
        ("tls.trust", "no-such.pem"),
    ),
}


def refused(place: Place, text: str, *options: str, **environment: str) -> str:
    """The message of a run that is refused, which leaves the folder and the machine as they were."""
    place.temporary.mkdir()
    path = place.folder / "scenario.toml"
    path.write_text(text)
    before = sorted(place.folder.rglob("*"))
    done = place.run(path, *options, environment=environment)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert sorted(place.folder.rglob("*")) == before
    assert place.leftovers() == []
    return line


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "here"
    folder.mkdir()
    return Place(folder)


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_a_scenario_that_cannot_be_measured_is_refused_in_one_line(bad: Refused, place: Place) -> None:
    line = refused(place, bad.text, **dict(bad.environment))
    for fragment in bad.fragments:
        assert fragment in line


def test_a_port_that_is_taken_is_refused_and_its_owner_goes_on(place: Place, listening: int) -> None:
    line = refused(place, f"{HANDSHAKE}[tls]\nport = {listening}\n")
    assert f"tls.port: {listening} is taken at 127.0.0.1" in line
    with socket.create_connection(("127.0.0.1", listening)):
        pass  # nobody took its place


def test_a_port_is_free_for_the_next_run_as_soon_as_one_has_ended(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    path = place.folder / "scenario.toml"
    path.write_text(f"{HANDSHAKE}[tls]\nport = {port}\n".replace("blocks = 1", "blocks = 2"))
    done = place.run(path, "--quiet")
    assert done.returncode == 0, done.stderr
    with socket.create_server(("127.0.0.1", port), reuse_port=False):
        pass
    (arm,) = place.summary()["arms"].values()
    assert (arm["trials"], arm["ok"], arm["failures"]) == (2, arm["planned"], [])


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("another key", ("is not for the key", "ec-p256", "public keys differ")),
        ("no certificate", ("holds no PEM certificate",)),
        ("nothing", ("cannot read", "No such file")),
    ],
)
@pytest.mark.parametrize("bridge", ["direct", "engine", "provider"])
def test_a_certificate_that_does_not_match_is_refused_and_the_token_is_as_it_was(
    bridge: str, content: str, fragments: tuple[str, ...], place: Place, access: TokenAccess, foreign: Settings
) -> None:
    file = place.folder / "theirs.pem"
    if content == "another key":
        file.write_text(_certificate_of_another_key())
    elif content == "no certificate":
        file.write_text(public_key(foreign))
    before = objects(access)
    text = token_table(access) + HANDSHAKE.removeprefix("blocks = 1\n")
    line = refused(place, f'{text}[tls]\nbridge = "{bridge}"\ncertificate = "theirs.pem"\n')
    assert "tls.certificate: " in line
    for fragment in (*fragments, "theirs.pem"):
        assert fragment in line
    assert access.pin.reveal() not in line
    assert objects(access) == before


@pytest.mark.parametrize("label", ["ec-p256", "fresh"])
def test_a_certificate_that_cannot_fit_is_refused_and_a_key_that_was_made_for_it_is_deleted(
    label: str, place: Place, access: TokenAccess, foreign: Settings
) -> None:
    """With provision = true, what the key is can only be told when it is there."""
    (place.folder / "theirs.pem").write_text(_certificate_of_another_key())
    before = objects(access)
    text = token_table(access, label, "provision = true\n") + HANDSHAKE.removeprefix("blocks = 1\n")
    line = refused(place, f'{text}[tls]\ncertificate = "theirs.pem"\n')
    assert 'arm "per-process": tls.certificate: ' in line
    assert label in line
    assert objects(access) == before


def _certificate_of_another_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return Authority().leaf(pem, ["host-0.lab.test"])
