"""The lab's own certificates, and the user's."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.errors import ScenarioError
from lab.tokens.certificates import Authority, fits, read_fitting
from lab.tokens.preflight import check, check_certificate
from lab.tokens.softhsm import SoftHsm
from tests.tokens.conftest import Arm, Settings, Tls, Workload

NOW = datetime(2007, 6, 18, tzinfo=UTC)


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


EC = pem(ec.generate_private_key(ec.SECP384R1()))
RSA = pem(rsa.generate_private_key(65537, 2048))


def leaf(public_pem: str) -> x509.Certificate:
    text = Authority(NOW).leaf(public_pem, ["host-1.lab.test"], ["127.0.0.3"])
    return x509.load_pem_x509_certificate(text.encode())


@pytest.mark.parametrize("public_pem", [EC, RSA])
def test_a_leaf_is_for_the_key_and_names_host_and_address(public_pem: str) -> None:
    names = leaf(public_pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["host-1.lab.test"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.3")]
    assert fits(leaf(public_pem).public_bytes(Encoding.PEM).decode(), public_pem)
    assert not fits(leaf(public_pem).public_bytes(Encoding.PEM).decode(), EC if public_pem == RSA else RSA)


def test_a_leaf_is_signed_by_the_authority_of_the_run_and_by_no_other() -> None:
    authority = Authority(NOW)
    issuer = x509.load_pem_x509_certificate(authority.pem.encode())
    made = x509.load_pem_x509_certificate(authority.leaf(EC, ["a.lab.test"]).encode())

    made.verify_directly_issued_by(issuer)
    with pytest.raises(InvalidSignature):
        made.verify_directly_issued_by(x509.load_pem_x509_certificate(Authority(NOW).pem.encode()))


def test_a_leaf_is_valid_since_yesterday_for_some_days() -> None:
    made = leaf(EC)

    assert made.not_valid_before_utc == NOW - timedelta(days=1)
    assert made.not_valid_after_utc > NOW + timedelta(days=1)


@pytest.mark.parametrize(("public_pem", "enciphers"), [(EC, False), (RSA, True)])
def test_only_an_rsa_leaf_may_encipher_keys_as_static_rsa_does(public_pem: str, enciphers: bool) -> None:
    usage = leaf(public_pem).extensions.get_extension_for_class(x509.KeyUsage).value

    assert usage.digital_signature
    assert usage.key_encipherment is enciphers


def test_the_text_of_a_fitting_certificate_is_given_whole(tmp_path: Path) -> None:
    authority = Authority(NOW)
    text = authority.leaf(EC, ["a.lab.test"]) + authority.pem
    (tmp_path / "chain.pem").write_text(text)

    assert read_fitting(str(tmp_path / "chain.pem"), EC, "k") == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^tls\.certificate: cannot read .*: No such file"),
        ("", r"^tls\.certificate: .* holds no PEM certificate$"),
        ("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", r"holds no PEM certificate$"),
        (EC, r"holds no PEM certificate$"),
        (Authority(NOW).leaf(RSA, ["a.lab.test"]), r'is not for the key "k" of the token: their public keys differ'),
    ],
)
def test_a_certificate_that_cannot_serve_is_one_message(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "c.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(ScenarioError, match=message):
        read_fitting(str(file), EC, "k")


def test_a_file_that_is_no_text_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_bytes(b"\x30\x82\xff\xfe")

    with pytest.raises(ScenarioError, match="holds no PEM certificate"):
        read_fitting(str(tmp_path / "c.pem"), EC, "k")


def test_a_certificate_of_another_key_is_found_before_anything_starts(foreign: Settings, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text(Authority().leaf(EC, ["a.lab.test"]))
    arm = Arm(foreign, Workload("handshake", "ec-p256", None), tls=Tls(certificate=str(tmp_path / "c.pem")))

    with pytest.raises(ScenarioError, match=r'^x\.toml: arm "only": tls\.certificate: .*is not for the key "ec-p256"'):
        check([arm], "x.toml")


def test_the_certificate_of_the_token_s_key_passes(golden: SoftHsm, foreign: Settings, tmp_path: Path) -> None:
    made = SoftHsm(Settings()).prepare(frozenset({"ec-p256"}), tmp_path / "golden").keys
    (tmp_path / "c.pem").write_text(Authority().leaf(made["ec-p256"].public_pem, ["a.lab.test"]))
    arm = Arm(foreign, Workload("handshake", "ec-p256", None), tls=Tls(certificate=str(tmp_path / "c.pem")))

    check_certificate(arm, made)
    check_certificate(arm, {})
