"""Addresses, ports, ciphers and trust are looked at before a scenario of handshakes starts."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.scenario import Tls, parse
from lab.tokens.certificates import Authority
from lab.topology.hosts import host_addresses, host_names
from lab.topology.tls_preflight import check

EXTERNAL = ("tls.server=external", "tls.host=127.0.0.1", "tls.port=443")


def checked(*overrides: str, folder: Path | None = None) -> None:
    check(parse("", "x.toml", ("workload.kind=handshake", *overrides)).arms, "x.toml", folder)


def tls(*overrides: str) -> Tls:
    (arm,) = parse("", "x.toml", ("workload.kind=handshake", *overrides)).arms
    assert arm.tls is not None
    return arm.tls


def test_one_host_is_at_127_0_0_1_however_hosts_are_chosen() -> None:
    assert host_addresses(tls("tls.vhost_by=ip")) == host_addresses(tls()) == ("127.0.0.1",)
    assert host_names(tls()) == ("host-0.lab.test",)


def test_hosts_by_name_share_an_address_and_hosts_by_ip_have_one_each() -> None:
    assert host_addresses(tls("tls.vhosts=3")) == ("127.0.0.1",) * 3
    assert host_addresses(tls("tls.vhosts=3", "tls.vhost_by=ip")) == ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    assert host_names(tls("tls.vhosts=2")) == ("host-0.lab.test", "host-1.lab.test")
    assert host_addresses(tls("tls.vhosts=253", "tls.vhost_by=ip"))[-1] == "127.0.0.254"


def test_other_workloads_and_any_free_port_have_nothing_to_check() -> None:
    check(parse("", "x.toml").arms, "x.toml")
    checked()


@pytest.mark.parametrize(
    ("address", "hosts"),
    [("127.0.0.1", ()), ("0.0.0.0", ()), ("127.0.0.4", ("tls.vhosts=3", "tls.vhost_by=ip"))],
)
def test_a_port_that_is_taken_on_any_address_of_a_host_is_said(address: str, hosts: tuple[str, ...]) -> None:
    with socket.create_server((address, 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(
            ScenarioError,
            match=rf'^x\.toml: arm "per-process": tls\.port: {port} is taken at 127\.0\.0\.\d; use another',
        ):
            checked(f"tls.port={port}", *hosts)
    checked(f"tls.port={port}", *hosts)


@pytest.mark.parametrize(
    ("key", "exchange", "ciphers"),
    [
        ("ec-p256", "ecdhe", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("ec-p384", "ecdhe", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("rsa-4096", "ecdhe", "ECDHE+AESGCM"),
        ("rsa-2048", "rsa", "AES128-GCM-SHA256"),
        ("rsa-2048", "rsa", "DEFAULT"),
    ],
)
def test_ciphers_that_fit_key_and_key_exchange_pass(key: str, exchange: str, ciphers: str, tmp_path: Path) -> None:
    checked(
        "tls.version='1.2'",
        f"workload.key={key}",
        f"tls.key_exchange={exchange}",
        f"tls.ciphers={ciphers}",
        folder=tmp_path,
    )

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "exchange", "ciphers", "example"),
    [
        ("ec-p256", "ecdhe", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("rsa-2048", "ecdhe", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("rsa-2048", "ecdhe", "AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("rsa-2048", "rsa", "ECDHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256"),
    ],
)
def test_a_list_without_a_shared_cipher_is_said_with_one_that_would_do(
    key: str, exchange: str, ciphers: str, example: str
) -> None:
    with pytest.raises(ScenarioError, match=rf'tls\.ciphers: no shared cipher: "{ciphers}" .*{key}; .* {example}$'):
        checked("tls.version='1.2'", f"workload.key={key}", f"tls.key_exchange={exchange}", f"tls.ciphers={ciphers}")


def test_a_list_that_names_no_cipher_is_said() -> None:
    with pytest.raises(ScenarioError, match=r'tls\.ciphers: "no-such" names no cipher'):
        checked("tls.version='1.2'", "tls.ciphers=no-such")


@pytest.mark.parametrize("server", ["httpd", "nginx", "stunnel"])
def test_ports_and_ciphers_of_real_servers_are_looked_at_as_those_of_the_lab_s_own(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(ScenarioError, match=rf'^x\.toml: arm "{server}": tls\.port: {port} is taken'):
            checked(f"tls.server={server}", f"tls.port={port}")
    with pytest.raises(ScenarioError, match=rf'^x\.toml: arm "{server}": tls\.ciphers: no shared cipher'):
        checked(f"tls.server={server}", "tls.version='1.2'", "tls.ciphers=ECDHE-RSA-AES128-GCM-SHA256")
    checked(f"tls.server={server}")


def test_an_external_server_with_an_address_passes(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(Authority().pem)

    checked(*EXTERNAL, f"tls.trust={tmp_path / 'ca.pem'}")


def test_a_host_without_an_address_is_said() -> None:
    with pytest.raises(ScenarioError, match=r"tls\.host: a\.\.b has no address: "):
        checked(*EXTERNAL, "tls.host='a..b'")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read .*: No such file"), ("nothing", "holds no PEM certificate")]
)
def test_trust_that_holds_no_certificate_is_said(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(ScenarioError, match=rf"tls\.trust: .*{message}"):
        checked(*EXTERNAL, f"tls.trust={file}")


@pytest.mark.parametrize(
    ("mode", "group", "open_to_it"),
    [(0o700, "root", False), (0o701, "root", True), (0o710, "root", False), (0o710, "nogroup", True)],
)
def test_a_temporary_folder_that_is_closed_to_a_server_s_user_is_said(mode: int, group: str, open_to_it: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-") as temporary:
        closed = Path(temporary)
        shutil.chown(closed, group=group)
        closed.chmod(mode)
        words = (
            rf'^x\.toml: arm "httpd.*": server\.user: nobody cannot get to temporary files, because {closed} is closed'
        )
        with contextlib.nullcontext() if open_to_it else pytest.raises(ScenarioError, match=words):
            checked("tls.server=httpd", "server.user=nobody", folder=closed / "lab-token-1")
