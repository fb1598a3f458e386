"""stunnel: the text of its configuration, and the real program with a SoftHSM token."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from lab.servers.stunnel import Stunnel
from lab.servers.words import last_words
from lab.tokens.model import Secret
from tests.servers.conftest import Keys
from tests.servers.sites import PIN, DidNotStart, arm_of, await_text, imagined, real, running

WRONG_PIN = "4711-wrong"
LOG = "logs/stunnel.log"


def lines(folder: Path, *overrides: str, user: str | None = None, starts_as: str | None = None) -> list[str]:
    """Lines of the stunnel.conf of an imagined site."""
    Stunnel().configure(imagined(arm_of("stunnel", *overrides), folder, user, starts_as))
    return (folder / "stunnel.conf").read_text().splitlines()


def test_the_engine_gets_the_key_by_a_uri_without_its_pin(tmp_path: Path) -> None:
    said = lines(tmp_path)

    for line in (
        "engine = pkcs11",
        "engineId = pkcs11",
        "key = pkcs11:token=lab;object=ec-p256-0;type=private",
        f"cert = {tmp_path}/certificate-0.pem",
        "accept = 127.0.0.1:4433",
        f"connect = {tmp_path}/backend.sock",
        "logId = thread",
        "debug = 6",
        "syslog = no",
    ):
        assert line in said
    assert said.index("engine = pkcs11") < said.index("[lab]") < said.index("engineId = pkcs11")
    assert not [line for line in said if line.startswith(("engineCtrl", "setuid", "setgid"))]


def test_the_provider_gets_the_key_by_a_file_that_stands_for_it(tmp_path: Path) -> None:
    said = lines(tmp_path, "tls.bridge=provider")

    assert f"key = {tmp_path}/key-0.pem" in said
    assert not [line for line in said if line.startswith("engine")]
    assert stat.S_IMODE((tmp_path / "key-0.pem").stat().st_mode) == 0o640


@pytest.mark.parametrize("bridge", ["engine", "provider"])
def test_the_pin_stands_in_one_file_that_only_its_owner_reads(bridge: str, tmp_path: Path) -> None:
    lines(tmp_path, f"tls.bridge={bridge}")

    having = [path for path in tmp_path.rglob("*") if path.is_file() and PIN in path.read_text()]
    assert [path.name for path in having] == ["openssl.cnf"]
    assert stat.S_IMODE(having[0].stat().st_mode) == 0o600


@pytest.mark.parametrize(("foreground", "value"), [("true", "quiet"), ("false", "no")])
def test_it_becomes_a_daemon_where_it_is_told_to(foreground: str, value: str, tmp_path: Path) -> None:
    assert f"foreground = {value}" in lines(tmp_path, f"server.foreground={foreground}")


def test_the_arm_s_version_and_ciphers_are_kept(tmp_path: Path) -> None:
    said = lines(tmp_path, "tls.version='1.2'", "tls.ciphers=ECDHE+AESGCM", "tls.timeout_s=1.5")

    for line in (
        "sslVersionMin = TLSv1.2",
        "sslVersionMax = TLSv1.2",
        "ciphers = ECDHE+AESGCM",
        "sessionResume = no",
        "options = NO_TICKET",
        "TIMEOUTbusy = 2",
    ):
        assert line in said


def test_the_order_has_the_backend_beside_it(tmp_path: Path) -> None:
    order = Stunnel().configure(imagined(arm_of("stunnel", "server.reload_at_s=0.5"), tmp_path))

    (backend,) = order.beside
    assert backend.command[-2:] == ("lab.servers.backend", f"{tmp_path}/backend.sock")
    assert backend.ready == f"{tmp_path}/backend.sock"
    assert order.command[1:] == (f"{tmp_path}/stunnel.conf",)
    assert order.environment["OPENSSL_CONF"] == f"{tmp_path}/openssl.cnf"
    assert (order.environment["TZ"], order.environment["SOFTHSM2_CONF"]) == ("UTC", "/t/softhsm2.conf")
    assert (order.stop_signal, order.reload_signal, order.reload_at_ns) == (
        signal.SIGTERM,
        signal.SIGHUP,
        500_000_000,
    )


@pytest.mark.parametrize("bridge", ["engine", "provider"])
@pytest.mark.parametrize("foreground", ["true", "false"])
def test_each_connection_to_the_real_one_is_told(foreground: str, bridge: str, keys: Keys, site_folder: Path) -> None:
    arm = arm_of("stunnel", f"server.foreground={foreground}", f"tls.bridge={bridge}")
    Stunnel().check(arm)
    with running(Stunnel(), real(arm, keys.access, keys.prepared, site_folder)) as server:
        ports = [server.connect()[0] for _ in range(4)]
        left, _ = server.connect(finish=False)
        await_text(site_folder / LOG, "Connection reset")
        threads = {int(name) for name in os.listdir(f"/proc/{server.pid}/task")}
    log = Stunnel().read_log(site_folder)

    assert {entry.port: entry.well for entry in log.entries} == {**dict.fromkeys(ports, True), left: False}
    assert len(log.entries) == 5
    assert {entry.pid for entry in log.entries} == {0}
    assert len({entry.tid for entry in log.entries}) == 5
    assert server.pid in threads
    assert all(entry.tid is not None and entry.tid > min(threads) for entry in log.entries)


def test_it_serves_on_after_a_reload(keys: Keys, site_folder: Path) -> None:
    with running(Stunnel(), real(arm_of("stunnel"), keys.access, keys.prepared, site_folder)) as server:
        ports = [server.connect()[0]]
        os.kill(server.pid, server.order.reload_signal)
        await_text(site_folder / LOG, "bound to", times=2)
        ports.append(server.connect()[0])
    assert [(entry.port, entry.well) for entry in Stunnel().read_log(site_folder).entries] == [(p, True) for p in ports]


def test_a_token_that_fails_is_told_with_its_code(keys: Keys, site_folder: Path) -> None:
    with running(Stunnel(), real(arm_of("stunnel"), keys.access, keys.prepared, site_folder)) as server:
        for path in Path(keys.access.environment["SOFTHSM2_CONF"]).parent.rglob("*.object"):
            path.unlink()
        with pytest.raises(OSError, match="internal error"):
            server.connect()
        await_text(site_folder / LOG, "Connection reset")
    (entry,) = Stunnel().read_log(site_folder).entries
    assert (entry.well, entry.text) == (False, "Object handle invalid")
    assert entry.ckr == 0x82  # CKR_OBJECT_HANDLE_INVALID


@pytest.mark.parametrize("what", ["pin", "key"])
def test_a_bad_start_tells_its_cause_and_no_pin(what: str, keys: Keys, site_folder: Path) -> None:
    site = real(arm_of("stunnel"), keys.access, keys.prepared, site_folder)
    if what == "pin":
        site = replace(site, pin=Secret(WRONG_PIN))
    else:
        site = replace(site, hosts=(replace(site.hosts[0], key_label="nobody-s"),))
    with pytest.raises(DidNotStart), running(Stunnel(), site):
        pass
    said = last_words([site_folder / "console.log", site_folder / LOG], site.pin)
    assert ("PIN incorrect" if what == "pin" else "object not found") in said
    for file in ("console.log", "stunnel.conf"):
        assert site.pin.reveal() not in (site_folder / file).read_text(errors="replace")
