"""What the trials of a real server are told of TLS: hosts as the lab's own server has them, and the library."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from lab.scenario import Arm, parse
from lab.tokens.bridges import library_of
from lab.tokens.keys import key_names
from lab.tokens.model import KeyInfo
from lab.tokens.softhsm import SoftHsm
from lab.topology.tls_order import Certificates, tls_order
from tests.tokens.conftest import Settings


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeyInfo]:
    """Of a token with a key for each of two hosts."""
    token = SoftHsm(Settings())
    made = token.prepare(frozenset(key_names("ec-p256", 2)), tmp_path_factory.mktemp("two") / "token")
    token.retire()
    return dict(made.keys)


def only(*overrides: str) -> Arm:
    (arm,) = parse("", "x.toml", ("workload.kind=handshake", "tls.vhosts=2", *overrides)).arms
    return arm


def test_a_real_server_has_the_hosts_and_certificates_that_the_lab_s_own_has(keys: dict[str, KeyInfo]) -> None:
    certificates = Certificates()
    own, httpd = (certificates.hosts(only(f"tls.server={server}"), keys) for server in ("lab", "httpd"))

    assert own is not None
    assert own == httpd
    assert [host.name for host in own.hosts] == ["host-0.lab.test", "host-1.lab.test"]
    assert all("BEGIN CERTIFICATE" in host.certificate for host in own.hosts)


@pytest.mark.parametrize("bridge", ["engine", "provider"])
@pytest.mark.parametrize("server", ["httpd", "nginx"])
def test_a_real_server_is_told_its_library_and_no_openssl_cnf_of_the_lab_s_own_server(
    server: str, bridge: str, keys: dict[str, KeyInfo], tmp_path: Path
) -> None:
    arm = only(f"tls.server={server}", f"tls.bridge={bridge}")
    hosts = Certificates().hosts(arm, keys)
    assert hosts is not None

    order = tls_order(arm, hosts, tmp_path)

    assert (order.server, order.bridge, order.bridge_library) == (server, bridge, str(library_of(bridge)))
    assert (order.bridge_config, order.resumption, order.intruders.silent) == (None, "off", 0)
    assert list(tmp_path.iterdir()) == []
    json.dumps(asdict(order))


@pytest.mark.parametrize("bridge", ["engine", "provider"])
@pytest.mark.parametrize("server", ["lab", "httpd"])
def test_the_library_of_the_scenario_is_what_is_loaded(
    server: str, bridge: str, keys: dict[str, KeyInfo], tmp_path: Path
) -> None:
    mine = shutil.copy(library_of(bridge), tmp_path / "mine.so")
    arm = only(f"tls.server={server}", f"tls.bridge={bridge}", f"tls.bridge_library={mine}")
    hosts = Certificates().hosts(arm, keys)
    assert hosts is not None

    order = tls_order(arm, hosts, tmp_path)

    assert order.bridge_library == str(mine)
    if order.bridge_config is not None:
        assert f"module = {mine}\n" in Path(order.bridge_config).read_text()
