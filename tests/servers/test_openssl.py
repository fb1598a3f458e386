"""The openssl.cnf of a site as OpenSSL itself reads it, files that stand for keys, and OpenSSL's errors in logs."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab import program
from lab.errors import ScenarioError
from lab.servers import openssl
from lab.servers.model import Site
from lab.servers.openssl import Said, read_errors
from lab.tokens.model import Secret
from tests.servers.conftest import Keys
from tests.servers.sites import PIN, arm_of, imagined, real


def site(folder: Path, bridge: str = "engine") -> Site:
    return imagined(arm_of("httpd", f"tls.bridge={bridge}"), folder)


@pytest.mark.parametrize(("bridge", "has"), [("engine", "PIN = {}"), ("provider", "pkcs11-module-token-pin = {}")])
def test_the_configuration_has_the_pin_and_only_its_owner_reads_it(bridge: str, has: str, tmp_path: Path) -> None:
    path = openssl.configure(site(tmp_path, bridge))
    said = path.read_text().splitlines()
    assert has.format(PIN) in said
    assert any(line.endswith(" = /lab/tap.so") for line in said)
    assert any(line.endswith(" = /usr/lib/pkcs11.so") for line in said)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("character", ["$", "#", "\\", '"', "'", "\n"])
def test_a_pin_that_the_file_could_not_say_is_refused_without_saying_it(character: str, tmp_path: Path) -> None:
    pin = f"12{character}34"
    with pytest.raises(ScenarioError, match=r"^the PIN: openssl.cnf cannot have one of ") as refused:
        openssl.configure(replace(site(tmp_path), pin=Secret(pin)))
    assert pin not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_path_that_the_file_could_not_say_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"^/a\$b/tap.so: openssl.cnf cannot"):
        openssl.configure(replace(site(tmp_path), module=Path("/a$b/tap.so")))


def test_a_uri_escapes_what_a_label_may_have(tmp_path: Path) -> None:
    uri = openssl.key_uri(replace(site(tmp_path), token_label="a;b c"), "k/1?ä")
    assert uri == "pkcs11:token=a%3Bb%20c;object=k%2F1%3F%C3%A4;type=private"


@pytest.mark.parametrize("bridge", ["engine", "provider"])
def test_openssl_finds_the_key_of_a_site_by_it(bridge: str, keys: Keys, site_folder: Path) -> None:
    made = real(arm_of("httpd", f"tls.bridge={bridge}"), keys.access, keys.prepared, site_folder)
    label = made.hosts[0].key_label
    key = ["-in", openssl.key_file(made, label, site_folder / "key.pem")]
    if bridge == "engine":
        key = ["-engine", "pkcs11", "-inform", "engine", "-in", openssl.key_uri(made, label)]
    done = subprocess.run(
        ["openssl", "pkey", *key, "-pubout"],
        env={**program.environment(), **made.environment, "OPENSSL_CONF": str(openssl.configure(made))},
        capture_output=True,
        text=True,
        check=True,
    )
    public = next(key.public_pem for key in keys.prepared.keys.values() if key.label == label)
    assert public.strip() in done.stdout
    assert made.pin.reveal() not in done.stdout + done.stderr


READ = {
    "nothing": ([], Said()),
    "no error of OpenSSL's": (["AH02006: connection was closed"], Said()),
    "the first of two": (
        ["error:0A0000C1:SSL routines::no shared cipher", "error:0A080006:SSL routines::EVP lib"],
        Said(0x0A0000C1, "no shared cipher"),
    ),
    "the token's last word of several in one line": (
        [
            "x (SSL: error:41800005:PKCS#11 module::General Error error:41800190:PKCS#11 module::Cryptoki not "
            "initialized error:0A080006:SSL routines::EVP lib)"
        ],
        Said(0x41800190, "Cryptoki not initialized", 0x190),
    ),
    "the provider's": (
        ["error:400000A0:pkcs11::PIN incorrect"],
        Said(0x400000A0, "PIN incorrect", 0xA0),
    ),
    "an alert with its number": (
        ["error:0A000418:SSL routines::tlsv1 alert unknown ca (SSL alert number 48)"],
        Said(0x0A000418, "tlsv1 alert unknown ca", None, 48),
    ),
}


@pytest.mark.parametrize(("lines", "said"), READ.values(), ids=READ)
def test_errors_in_a_log_amount_to(lines: list[str], said: Said) -> None:
    assert read_errors(lines) == said
