"""Handshakes with keys of a token that somebody else set up: on each bridge, with a certificate of his own, or ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from lab.tokens.certificates import Authority
from lab.tokens.model import TokenAccess
from lab.tokens.module import Module
from tests.combined import Sealed, sealed
from tests.runs import Place
from tests.tokens.conftest import Settings, foreign

__all__ = ["foreign"]

PLANNED = 12
BRIDGES = ("direct", "engine", "provider")
LOAD = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 60\nwarmup_s = 0\nduration_s = 0.2\n'
HANDSHAKE = f'[workload]\nkind = "handshake"\n[topology]\nprocesses = 2\n[context]\npolicy = "per-process"\n{LOAD}'


def token_table(access: TokenAccess, key_label: str = "ec-p256", more: str = "") -> str:
    """[token] of a module by its path; its PIN is in FOREIGN_PIN."""
    environment = ", ".join(f"{name} = {json.dumps(value)}" for name, value in access.environment.items())
    return (
        f'blocks = 1\n[token]\nkind = "module"\npath = "{access.module}"\ntoken_label = "{access.token_label}"\n'
        f'key_label = "{key_label}"\npin_env = "FOREIGN_PIN"\nenvironment = {{ {environment} }}\n{more}'
    )


def objects(access: TokenAccess) -> set[str]:
    """Files of the token's objects."""
    configuration = Path(access.environment["SOFTHSM2_CONF"])
    return {path.name for path in (configuration.parent / "tokens").rglob("*.object")}


def public_key(settings: Settings, key: str = "ec-p256") -> str:
    return Module(settings).check(frozenset({key}), frozenset())[key].public_pem


@pytest.fixture
def ran(place: Place, foreign: Settings) -> Callable[[str], dict[str, Sealed]]:
    """Runs the text of a scenario; `foreign` has put the PIN where it says."""

    def run(text: str) -> dict[str, Sealed]:
        path = place.folder / "module.toml"
        path.write_text(text)
        done = place.run(path, "--quiet")
        assert done.returncode == 0, done.stderr
        assert place.leftovers() == []
        return sealed(place)

    return run


def _all_well(one: Sealed) -> None:
    assert (one.arm["ok"], one.arm["verified"], one.arm["failures"]) == (PLANNED, PLANNED, [])
    assert one.arm["connections"]["joined"] == PLANNED
    assert one.arm["token"] == "module"


def test_the_key_of_a_foreign_token_serves_on_every_bridge_and_nothing_is_made_on_it(
    ran: Callable[[str], dict[str, Sealed]], access: TokenAccess
) -> None:
    arms = "".join(
        f'[[arm]]\nname = "{bridge} {version}"\ntls = {{ bridge = "{bridge}", version = "{version}" }}\n'
        for bridge, version in product(BRIDGES, ("1.2", "1.3"))
    )
    before = objects(access)
    found = ran(token_table(access) + HANDSHAKE + arms)
    assert len(found) == 6
    for one in found.values():
        _all_well(one)
    assert objects(access) == before


@pytest.mark.parametrize("bridge", BRIDGES)
def test_keys_that_the_lab_may_make_are_made_for_each_host_and_deleted_again(
    bridge: str, ran: Callable[[str], dict[str, Sealed]], access: TokenAccess
) -> None:
    arms = "".join(f'[[arm]]\nname = "{by}"\ntls.vhost_by = "{by}"\n' for by in ("sni", "ip"))
    before = objects(access)
    table = token_table(access, "fresh", "provision = true\n")
    found = ran(f'{table}{HANDSHAKE}[tls]\nbridge = "{bridge}"\nvhosts = 3\n{arms}')
    for one in found.values():
        _all_well(one)
        served = one.connections_of("server")
        assert served.groupby("vhost").size().to_dict() == dict.fromkeys(range(3), PLANNED // 3)
    assert objects(access) == before


def test_static_rsa_and_rsa_serve_with_keys_that_the_lab_makes(
    ran: Callable[[str], dict[str, Sealed]], access: TokenAccess
) -> None:
    before = objects(access)
    table = token_table(access, "fresh", "provision = true\n")
    arms = "".join(
        f'[[arm]]\nname = "{bridge} {exchange}"\ntls = {{ bridge = "{bridge}", key_exchange = "{exchange}" }}\n'
        for bridge, exchange in product(("direct", "provider"), ("ecdhe", "rsa"))
    )
    found = ran(
        f'{table}{HANDSHAKE}[tls]\nversion = "1.2"\n{arms}'.replace('"handshake"', '"handshake"\nkey = "rsa-2048"')
    )
    for one in found.values():
        _all_well(one)
    assert objects(access) == before


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_certificate_of_whoever_signed_it_serves_if_it_is_for_the_key(
    bridge: str, ran: Callable[[str], dict[str, Sealed]], access: TokenAccess, foreign: Settings, tmp_path: Path
) -> None:
    """The client pins it: who signed it, for which name, is no question of the token's."""
    somebody = Authority()
    chain = somebody.leaf(public_key(foreign), ["www.example.org"]) + somebody.pem
    (tmp_path / "theirs.pem").write_text(chain)
    tls = f'[tls]\nbridge = "{bridge}"\ncertificate = "theirs.pem"\n'
    (one,) = ran(token_table(access) + HANDSHAKE + tls).values()
    _all_well(one)
