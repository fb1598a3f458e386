"""What arms need of their token: keys by name, what these must do, and mechanisms."""

from __future__ import annotations

import pytest

from lab.tokens.keys import KEYS, key_names, kind_of
from lab.tokens.needs import Needs, keys_of, signing_mechanisms
from tests.tokens.conftest import Arm, Settings, Tls, Workload


def handshake(key: str = "ec-p256", **tls: object) -> Arm:
    return Arm(Settings(), Workload("handshake", key, None), tls=Tls(**tls))  # type: ignore[arg-type]


def test_one_key_has_the_name_of_its_kind_and_several_have_numbers() -> None:
    assert key_names("ec-p256") == ("ec-p256",)
    assert key_names("ec-p256", 3) == ("ec-p256-0", "ec-p256-1", "ec-p256-2")


@pytest.mark.parametrize("kind", KEYS)
def test_a_name_tells_its_kind(kind: str) -> None:
    assert kind_of(kind) == kind
    assert kind_of(key_names(kind, 100)[99]) == kind


def test_each_virtual_host_needs_a_key_of_its_own() -> None:
    assert keys_of(handshake("rsa-2048", vhosts=2)) == ("rsa-2048-0", "rsa-2048-1")
    assert keys_of(Arm(Settings())) == ("ec-p256",)
    assert keys_of(Arm(None, Workload("handshake"), tls=Tls(bridge="software"))) == ()
    assert keys_of(Arm(Settings(), Workload("random", None, None))) == ()


@pytest.mark.parametrize(
    ("key", "tls", "mechanisms"),
    [
        ("ec-p384", {}, {"ECDSA"}),
        ("rsa-2048", {"version": "1.3"}, {"RSA_PKCS_PSS"}),
        ("rsa-2048", {"version": "1.2"}, {"RSA_PKCS_PSS", "RSA_PKCS"}),
        ("rsa-2048", {"version": "1.2", "key_exchange": "rsa"}, set()),
        ("rsa-2048", {"bridge": "engine"}, set()),
    ],
)
def test_a_handshake_needs_the_mechanisms_that_its_version_signs_with(
    key: str, tls: dict[str, str], mechanisms: set[str]
) -> None:
    assert set(signing_mechanisms(handshake(key, **tls))) == mechanisms


def test_a_key_signs_or_decrypts_or_does_both_as_the_arms_on_one_token_want() -> None:
    static = handshake("rsa-2048", version="1.2", key_exchange="rsa")
    needs = Needs.of([static, handshake("rsa-2048"), handshake("rsa-3072"), Arm(Settings())])

    assert needs.decrypt == {"rsa-2048"}
    assert needs.sign == {"rsa-2048", "rsa-3072", "ec-p256"}
    assert needs.mechanisms == {("rsa-2048", "RSA_PKCS_PSS"), ("rsa-3072", "RSA_PKCS_PSS"), ("ec-p256", "ECDSA")}
