"""httpd: the text of its configuration, and the real program with a SoftHSM token."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import stat
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab.servers.httpd import ERROR_LOG, Httpd
from lab.servers.words import last_words
from lab.tokens.model import Secret
from tests.servers.conftest import Keys
from tests.servers.sites import PIN, DidNotStart, arm_of, await_text, imagined, real, running

WRONG_PIN = "4711-wrong"
NO_GROUP = pwd.getpwnam("nobody").pw_gid
PREFORK, WORKER, EVENT = "topology.kind=prefork", "topology.kind=worker", "topology.kind=event"
ONE = "topology.processes=1"


def lines(folder: Path, *overrides: str, user: str | None = None, starts_as: str | None = None) -> list[str]:
    """Lines of the httpd.conf of an imagined site."""
    Httpd().configure(imagined(arm_of("httpd", *overrides), folder, user, starts_as))
    return (folder / "httpd.conf").read_text().splitlines()


def test_all_that_it_writes_lies_in_the_site_s_folder(tmp_path: Path) -> None:
    said = lines(tmp_path)
    for line in (
        f'ServerRoot "{tmp_path}"',
        f'DefaultRuntimeDir "{tmp_path}"',
        f'PidFile "{tmp_path}/httpd.pid"',
        f"Mutex file:{tmp_path}",
        f'ErrorLog "{tmp_path}/error.log"',
    ):
        assert line in said


def test_the_engine_gets_the_key_by_a_uri_without_its_pin(tmp_path: Path) -> None:
    said = lines(tmp_path)
    assert "SSLCryptoDevice pkcs11" in said
    assert 'SSLCertificateKeyFile "pkcs11:token=lab;object=ec-p256-0;type=private"' in said
    assert f'SSLCertificateFile "{tmp_path}/certificate-0.pem"' in said
    assert (tmp_path / "certificate-0.pem").read_text() == "certificate of host-0.lab.test\n"


def test_the_provider_gets_the_key_by_a_file_that_stands_for_it(tmp_path: Path) -> None:
    said = lines(tmp_path, "tls.bridge=provider")
    assert "SSLCryptoDevice pkcs11" not in said
    assert f'SSLCertificateKeyFile "{tmp_path}/key-0.pem"' in said
    assert (tmp_path / "key-0.pem").read_text().startswith("-----BEGIN PKCS#11 PROVIDER URI-----\n")


@pytest.mark.parametrize("bridge", ["engine", "provider"])
def test_the_pin_stands_in_one_file_that_only_its_owner_reads(bridge: str, tmp_path: Path) -> None:
    lines(tmp_path, f"tls.bridge={bridge}")
    having = [path for path in tmp_path.iterdir() if PIN in path.read_text()]
    assert [path.name for path in having] == ["openssl.cnf"]
    assert stat.S_IMODE(having[0].stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("by", "listening", "addresses"),
    [
        ("sni", ["Listen 127.0.0.1:4433"], ["127.0.0.1", "127.0.0.1"]),
        ("ip", ["Listen 127.0.0.2:4433", "Listen 127.0.0.3:4433"], ["127.0.0.2", "127.0.0.3"]),
    ],
)
def test_each_host_has_its_name_its_key_and_an_address(
    by: str, listening: list[str], addresses: list[str], tmp_path: Path
) -> None:
    said = lines(tmp_path, "tls.vhosts=2", f"tls.vhost_by={by}")
    assert [line for line in said if line.startswith("Listen")] == listening
    assert [line for line in said if line.startswith("<Virtual")] == [f"<VirtualHost {a}:4433>" for a in addresses]
    assert [line for line in said if line.startswith("ServerName host")] == [
        f"ServerName host-{n}.lab.test" for n in "01"
    ]
    assert [re.search("object=([^;]+)", line)[1] for line in said if "KeyFile" in line] == ["ec-p256-0", "ec-p256-1"]  # type: ignore[index]


POPULATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prefork": (
        (PREFORK, "topology.processes=3"),
        ("StartServers 3", "ServerLimit 3", "MaxRequestWorkers 3", "MinSpareServers 3", "MaxConnectionsPerChild 0"),
    ),
    "worker": (
        (WORKER, "topology.processes=3", "topology.threads=5"),
        ("StartServers 3", "ThreadsPerChild 5", "ThreadLimit 5", "MaxRequestWorkers 15", "MinSpareThreads 15"),
    ),
    "event that ends after its share": (
        (EVENT, "topology.threads=2", "topology.connections_per_child=7", ONE),
        ("StartServers 1", "ThreadsPerChild 2", "MaxRequestWorkers 2", "MaxConnectionsPerChild 7"),
    ),
}


@pytest.mark.parametrize(("overrides", "expected"), POPULATIONS.values(), ids=POPULATIONS)
def test_the_population_is_the_topology_s(
    overrides: tuple[str, ...], expected: tuple[str, ...], tmp_path: Path
) -> None:
    said = lines(tmp_path, *overrides)
    assert set(expected) <= set(said)
    kind = overrides[0].rpartition("=")[2]
    assert [line.split()[1] for line in said if line.startswith("LoadModule mpm")] == [f"mpm_{kind}_module"]


def test_version_and_ciphers_are_the_arm_s_and_nothing_is_resumed(tmp_path: Path) -> None:
    said = lines(tmp_path, "tls.version='1.2'", "tls.ciphers=ECDHE+AESGCM")
    expected = (
        "SSLProtocol -all +TLSv1.2",
        'SSLCipherSuite "ECDHE+AESGCM"',
        "SSLSessionCache none",
        "SSLSessionTickets off",
    )
    assert set(expected) <= set(said)


def test_static_rsa_has_ciphers_without_an_exchange(tmp_path: Path) -> None:
    said = lines(tmp_path, "tls.version='1.2'", "tls.key_exchange=rsa", "tls.bridge=provider", "workload.key=rsa-2048")
    assert "SSLCipherSuite kRSA:!eNULL" in said


def test_workers_change_to_their_user_and_its_group(tmp_path: Path) -> None:
    assert {"User nobody", f"Group #{NO_GROUP}"} <= set(lines(tmp_path, user="nobody"))


def test_who_is_started_as_that_user_cannot_change_and_need_not(tmp_path: Path) -> None:
    said = lines(tmp_path, user="nobody", starts_as="nobody")
    assert not [line for line in said if line.startswith(("User", "Group"))]


@pytest.mark.parametrize(("foreground", "words"), [("true", ["-DFOREGROUND"]), ("false", [])])
def test_the_order_says_how_it_is_run_and_what_happens_to_it(foreground: str, words: list[str], tmp_path: Path) -> None:
    overrides = ("server.reload_at_s=0.5", "server.kill_at_s=0.25", f"server.foreground={foreground}")
    order = Httpd().configure(imagined(arm_of("httpd", *overrides), tmp_path, "www-data", "www-data"))
    assert list(order.command[1:]) == ["-d", f"{tmp_path}", "-f", f"{tmp_path}/httpd.conf", *words]
    assert order.environment["OPENSSL_CONF"] == f"{tmp_path}/openssl.cnf"
    assert (order.environment["TZ"], order.environment["SOFTHSM2_CONF"]) == ("UTC", "/t/softhsm2.conf")
    assert (order.reload_at_ns, order.kill_at_ns) == (500_000_000, 250_000_000)
    assert (order.stop_signal, order.reload_signal) == (signal.SIGTERM, signal.SIGUSR1)
    assert (order.user, order.foreground) == ("www-data", foreground == "true")


@pytest.mark.parametrize("kind", [PREFORK, WORKER, EVENT])
def test_the_installed_build_has_each_of_its_kinds(kind: str) -> None:
    Httpd().check(arm_of("httpd", kind))
    assert Httpd().version().startswith("Apache/2.")


@pytest.mark.parametrize(
    "overrides",
    [
        (PREFORK, "server.foreground=false", "topology.processes=2"),
        (WORKER, "tls.bridge=provider", ONE, "topology.threads=2"),
        (EVENT, "tls.bridge=provider", ONE, "topology.threads=2", "tls.vhost_by=ip"),
    ],
    ids=["prefork engine daemon", "worker provider", "event provider ip"],
)
def test_each_connection_to_the_real_one_is_told(overrides: tuple[str, ...], keys: Keys, site_folder: Path) -> None:
    site = real(arm_of("httpd", "tls.vhosts=2", *overrides), keys.access, keys.prepared, site_folder)
    with running(Httpd(), site) as server:
        made = [server.connect(place) for place in (0, 1, 0, 1)]
        left, _ = server.connect(finish=False)
        await_text(site_folder / ERROR_LOG, "AH02006")
        with socket.create_connection((site.hosts[0].address, site.port)) as plain:
            spoke = plain.getsockname()[1]
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            plain.recv(1)
    entries = {entry.port: entry for entry in Httpd().read_log(site_folder).entries}
    assert made[0][1] != made[1][1]  # each host has its own certificate
    assert {port: entry.well for port, entry in entries.items()} == {
        **dict.fromkeys([port for port, _ in made], True),
        left: False,
        spoke: False,
    }
    assert entries[spoke].text == "http request"
    assert server.pid not in {entry.pid for entry in entries.values()}
    assert all(entry.exact and entry.ended_ns and entry.ended_ns >= entry.opened_ns for entry in entries.values())
    if "kind=prefork" in overrides[0]:
        assert all(entry.tid == entry.pid for entry in entries.values())
    else:
        assert all(entry.tid != entry.pid for entry in entries.values())


def test_reload_and_a_crash_bring_new_children_and_the_log_has_the_signal(keys: Keys, site_folder: Path) -> None:
    with running(Httpd(), real(arm_of("httpd", PREFORK, ONE), keys.access, keys.prepared, site_folder)) as server:
        server.connect()
        os.kill(server.pid, server.order.reload_signal)
        await_text(site_folder / ERROR_LOG, server.order.says_ready[1], times=2)
        server.connect()
        (second,) = psutil.Process(server.pid).children()
        second.send_signal(signal.SIGSEGV)  # of a SIGKILL it says nothing
        await_text(site_folder / ERROR_LOG, "AH00052")
        server.connect()
    told = Httpd().read_log(site_folder)
    assert dict(told.crashes) == {second.pid: signal.SIGSEGV}
    assert len({entry.pid for entry in told.entries}) == 3


def test_a_token_that_fails_is_told_with_its_code(keys: Keys, site_folder: Path) -> None:
    with running(Httpd(), real(arm_of("httpd", PREFORK, ONE), keys.access, keys.prepared, site_folder)) as server:
        for path in Path(keys.access.environment["SOFTHSM2_CONF"]).parent.rglob("*.object"):
            path.unlink()
        with pytest.raises(OSError, match="internal error"):
            server.connect()
    (entry,) = Httpd().read_log(site_folder).entries
    assert (entry.well, entry.ckr, entry.text) == (False, 0x82, "Object handle invalid")


@pytest.mark.parametrize("what", ["pin", "key"])
def test_a_bad_start_tells_its_cause_and_no_pin(what: str, keys: Keys, site_folder: Path) -> None:
    site = real(arm_of("httpd"), keys.access, keys.prepared, site_folder)
    if what == "pin":
        site = replace(site, pin=Secret(WRONG_PIN))
    else:
        site = replace(site, hosts=(replace(site.hosts[0], key_label="nobody-s"),))
    with pytest.raises(DidNotStart), running(Httpd(), site):
        pass
    said = last_words([site_folder / "console.log", site_folder / ERROR_LOG], site.pin)
    assert ("PIN incorrect" if what == "pin" else "object not found") in said
    for file in ("console.log", ERROR_LOG, "httpd.conf"):
        assert site.pin.reveal() not in (site_folder / file).read_text(errors="replace")


def test_a_folder_without_a_log_tells_nothing(tmp_path: Path) -> None:
    assert Httpd().read_log(tmp_path).entries == ()
