"""nginx: the text of its configuration, and the real program with a SoftHSM token."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.servers.nginx import Nginx
from lab.servers.words import last_words
from lab.tokens.model import Secret
from tests.servers.conftest import Keys
from tests.servers.sites import PIN, DidNotStart, arm_of, await_text, imagined, real, running

WRONG_PIN = "4711-wrong"


def lines(folder: Path, *overrides: str, user: str | None = None, starts_as: str | None = None) -> list[str]:
    """Lines of the nginx.conf of an imagined site."""
    Nginx().configure(imagined(arm_of("nginx", *overrides), folder, user, starts_as))
    return (folder / "nginx.conf").read_text().splitlines()


def test_the_engine_gets_the_key_by_a_uri_without_its_pin(tmp_path: Path) -> None:
    said = lines(tmp_path)

    assert "ssl_engine pkcs11;" in said
    uri = "pkcs11:token=lab;object=ec-p256-0;type=private"
    assert f'ssl_certificate_key "engine:pkcs11:{uri}";' in said
    assert f'ssl_certificate "{tmp_path}/certificate-0.pem";' in said
    assert (tmp_path / "certificate-0.pem").read_text() == "certificate of host-0.lab.test\n"


def test_the_provider_gets_the_key_by_a_file_that_stands_for_it(tmp_path: Path) -> None:
    said = lines(tmp_path, "tls.bridge=provider")

    assert "ssl_engine pkcs11;" not in said
    assert f'ssl_certificate_key "{tmp_path}/key-0.pem";' in said
    assert (tmp_path / "key-0.pem").read_text().startswith("-----BEGIN PKCS#11 PROVIDER URI-----\n")


@pytest.mark.parametrize("bridge", ["engine", "provider"])
def test_the_pin_stands_in_one_file_that_only_its_owner_reads(bridge: str, tmp_path: Path) -> None:
    lines(tmp_path, f"tls.bridge={bridge}")

    having = [path for path in tmp_path.iterdir() if PIN in path.read_text()]
    assert [path.name for path in having] == ["openssl.cnf"]
    assert stat.S_IMODE(having[0].stat().st_mode) == 0o600


def test_hosts_by_name_share_an_address_and_the_first_is_the_default(tmp_path: Path) -> None:
    said = lines(tmp_path, "tls.vhosts=2")

    assert [line for line in said if line.startswith("listen")] == [
        "listen 127.0.0.1:4433 ssl default_server;",
        "listen 127.0.0.1:4433 ssl;",
    ]
    assert [line for line in said if line.startswith("server_name")] == [
        "server_name host-0.lab.test;",
        "server_name host-1.lab.test;",
    ]


def test_hosts_by_address_have_one_each_and_are_its_default(tmp_path: Path) -> None:
    arm = arm_of("nginx", "tls.vhosts=2", "tls.vhost_by=ip")
    order = Nginx().configure(imagined(arm, tmp_path))

    said = (tmp_path / "nginx.conf").read_text().splitlines()
    assert [line for line in said if line.startswith("listen")] == [
        "listen 127.0.0.2:4433 ssl default_server;",
        "listen 127.0.0.3:4433 ssl default_server;",
    ]
    assert order.addresses == ("127.0.0.2", "127.0.0.3")


def test_env_lines_name_all_that_a_worker_must_have(tmp_path: Path) -> None:
    said = [line for line in lines(tmp_path) if line.startswith("env")]

    assert said == ["env SOFTHSM2_CONF;", "env LAB_TAP_KEY;", "env OPENSSL_CONF;", "env TZ;"]


def test_env_lines_can_be_left_out(tmp_path: Path) -> None:
    assert not [line for line in lines(tmp_path, "server.env_lines=false") if line.startswith("env")]


@pytest.mark.parametrize(("foreground", "daemon"), [("true", "off"), ("false", "on")])
def test_it_becomes_a_daemon_where_it_is_told_to(foreground: str, daemon: str, tmp_path: Path) -> None:
    assert f"daemon {daemon};" in lines(tmp_path, f"server.foreground={foreground}")


def test_workers_change_to_their_user_with_its_own_group(tmp_path: Path) -> None:
    assert "user nobody nogroup;" in lines(tmp_path, user="nobody")


def test_who_is_started_as_that_user_cannot_change_and_need_not(tmp_path: Path) -> None:
    assert not [line for line in lines(tmp_path, user="nobody", starts_as="nobody") if line.startswith("user")]


def test_the_arm_s_version_ciphers_and_processes_are_kept(tmp_path: Path) -> None:
    said = lines(
        tmp_path, "tls.version='1.2'", "tls.ciphers=ECDHE+AESGCM", "topology.processes=3", "tls.timeout_s=0.25"
    )

    for line in (
        "ssl_protocols TLSv1.2;",
        'ssl_ciphers "ECDHE+AESGCM";',
        "worker_processes 3;",
        "ssl_session_tickets off;",
        "ssl_session_cache off;",
        "client_header_timeout 250ms;",
    ):
        assert line in said


def test_the_order_says_how_it_is_run_and_what_happens_to_it(tmp_path: Path) -> None:
    arm = arm_of("nginx", "server.reload_at_s=0.5", "server.kill_at_s=0.25")
    order = Nginx().configure(imagined(arm, tmp_path, "www-data", "www-data"))

    assert order.command[1:] == ("-p", f"{tmp_path}/", "-c", f"{tmp_path}/nginx.conf", "-e", f"{tmp_path}/error.log")
    assert order.environment["OPENSSL_CONF"] == f"{tmp_path}/openssl.cnf"
    assert (order.environment["TZ"], order.environment["SOFTHSM2_CONF"]) == ("UTC", "/t/softhsm2.conf")
    assert (order.reload_at_ns, order.kill_at_ns) == (500_000_000, 250_000_000)
    assert (order.stop_signal, order.reload_signal) == (signal.SIGTERM, signal.SIGHUP)
    assert (order.user, order.foreground) == ("www-data", True)


def test_a_build_without_a_debugging_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tmp_path / "nginx"
    plain.write_text(
        '#!/bin/sh\necho "nginx version: nginx/1.2.3" >&2\necho "configure arguments: --with-compat" >&2\n'
    )
    plain.chmod(0o755)
    monkeypatch.setenv("LAB_NGINX", str(plain))
    with pytest.raises(ScenarioError, match=r"^tls.server: nginx: .* was built without --with-debug "):
        Nginx().check(arm_of("nginx"))


def test_the_installed_build_is_good_enough() -> None:
    Nginx().check(arm_of("nginx"))


@pytest.mark.parametrize("foreground", ["true", "false"])
def test_each_connection_to_the_real_one_is_told(foreground: str, keys: Keys, site_folder: Path) -> None:
    arm = arm_of("nginx", "tls.vhosts=2", f"server.foreground={foreground}", "topology.processes=2")
    site = real(arm, keys.access, keys.prepared, site_folder)
    with running(Nginx(), site) as server:
        made = [server.connect(place) for place in (0, 1, 0, 1)]
        left, _ = server.connect(finish=False)
        await_text(site_folder / "error.log", "while SSL handshaking")
    log = Nginx().read_log(site_folder)

    assert made[0][1] != made[1][1]  # each host has its own certificate
    assert {entry.port: entry.well for entry in log.entries} == {
        **dict.fromkeys([p for p, _ in made], True),
        left: False,
    }
    assert len(log.entries) == 5
    assert server.pid not in {entry.pid for entry in log.entries}
    assert all(entry.tid == entry.pid and entry.ended_ns and not entry.exact for entry in log.entries)


def test_the_real_one_works_with_the_provider(keys: Keys, site_folder: Path) -> None:
    arm = arm_of("nginx", "tls.bridge=provider", "tls.vhosts=2", "tls.vhost_by=ip", "topology.processes=1")
    with running(Nginx(), real(arm, keys.access, keys.prepared, site_folder)) as server:
        ports = [server.connect(place)[0] for place in (0, 1)]
    assert [(entry.port, entry.well) for entry in Nginx().read_log(site_folder).entries] == [(p, True) for p in ports]


def test_reload_and_kill_make_new_workers_and_the_log_has_their_ends(keys: Keys, site_folder: Path) -> None:
    arm = arm_of("nginx", "topology.processes=1")
    log = site_folder / "error.log"
    with running(Nginx(), real(arm, keys.access, keys.prepared, site_folder)) as server:
        server.connect()
        os.kill(server.pid, server.order.reload_signal)
        await_text(log, "exited with code 0")
        server.connect()
        second = Nginx().read_log(site_folder).entries[-1].pid
        os.kill(second, signal.SIGKILL)
        await_text(log, server.order.says_ready[1], times=3)
        server.connect()
    told = Nginx().read_log(site_folder)

    first, _, third = (entry.pid for entry in told.entries)
    assert told.crashes == {second: signal.SIGKILL}
    assert told.exits[first] == told.exits[third] == 0


def test_a_token_that_fails_is_told_with_its_code(keys: Keys, site_folder: Path) -> None:
    arm = arm_of("nginx", "topology.processes=1")
    with running(Nginx(), real(arm, keys.access, keys.prepared, site_folder)) as server:
        for path in Path(keys.access.environment["SOFTHSM2_CONF"]).parent.rglob("*.object"):
            path.unlink()
        with pytest.raises(OSError, match="internal error"):
            server.connect()
    (entry,) = Nginx().read_log(site_folder).entries
    assert (entry.well, entry.text) == (False, "Object handle invalid")
    assert entry.ckr == 0x82  # CKR_OBJECT_HANDLE_INVALID


@pytest.mark.parametrize("what", ["pin", "key"])
def test_a_bad_start_tells_its_cause_and_no_pin(what: str, keys: Keys, site_folder: Path) -> None:
    site = real(arm_of("nginx"), keys.access, keys.prepared, site_folder)
    if what == "pin":
        site = replace(site, pin=Secret(WRONG_PIN))
    else:
        site = replace(site, hosts=(replace(site.hosts[0], key_label="nobody-s"),))
    with pytest.raises(DidNotStart), running(Nginx(), site):
        pass
    said = last_words([site_folder / "console.log", site_folder / "error.log"], site.pin)
    assert ("PIN incorrect" if what == "pin" else "object not found") in said
    for file in ("console.log", "error.log", "nginx.conf"):
        assert site.pin.reveal() not in (site_folder / file).read_text(errors="replace")
