"""Certificates for the lab's own servers: an authority per run, in memory only, and one leaf for each virtual host.

A user's own certificate (tls.certificate) is only looked at: its key must be the token's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.errors import ScenarioError

BEFORE: Final = timedelta(days=1)  # for a clock that was set back
AFTER: Final = timedelta(days=7)  # longer than any run
_AUTHORITY: Final = "PKCS#11 context lab, of one run"


class Authority:
    """A certificate authority whose key is drawn here and never leaves this object."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _AUTHORITY)])
        public = self._key.public_key()
        builder = self._begun(self._name, public).add_extension(x509.BasicConstraints(True, 0), critical=True)
        builder = builder.add_extension(_usage(sign_certificates=True), critical=True)
        self._identity = x509.SubjectKeyIdentifier.from_public_key(public)
        self._certificate = builder.add_extension(self._identity, critical=False).sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """The authority's own certificate."""
        return self._certificate.public_bytes(Encoding.PEM).decode()

    def leaf(self, public_pem: str, names: Sequence[str], addresses: Sequence[str] = ()) -> str:
        """A server's certificate, PEM, for a public key (PEM, RSA or EC), DNS names (the first its subject) and IPs."""
        key = load_pem_public_key(public_pem.encode())
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise ValueError(f"a certificate for a key of type {type(key).__name__}")
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identity)
        builder = self._begun(subject, key).add_extension(x509.BasicConstraints(False, None), critical=True)
        # static RSA encrypts the premaster secret to this key: RFC 5246, section 7.4.2
        usage = _usage(encipher=isinstance(key, rsa.RSAPublicKey))
        builder = builder.add_extension(usage, critical=True).add_extension(issuer, critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        extended = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        signed = builder.add_extension(extended, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM).decode()

    def _begun(self, subject: x509.Name, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - BEFORE)
            .not_valid_after(self._now + AFTER)
        )


def fits(certificate_pem: str, public_pem: str) -> bool:
    """Whether the (first) certificate of a PEM text is for this public key. Raises ValueError where there is none."""
    return _spki(x509.load_pem_x509_certificates(certificate_pem.encode())[0].public_key()) == _spki(
        load_pem_public_key(public_pem.encode())
    )


def read_fitting(file: str, public_pem: str, label: str) -> str:
    """The text of the user's certificate (tls.certificate) for the token's key that is labelled `label`.

    Raises ScenarioError, `tls.certificate: ...`, where the file cannot be read, holds no certificate, or one of
    another key.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
        right = fits(text, public_pem)
    except OSError as error:
        raise ScenarioError(f"tls.certificate: cannot read {file}: {error.strerror}") from None
    except ValueError:  # also of text that is not UTF-8
        raise ScenarioError(f"tls.certificate: {file} holds no PEM certificate") from None
    if not right:
        raise ScenarioError(
            f'tls.certificate: {file} is not for the key "{label}" of the token: their public keys differ; '
            "use the certificate of this key, or leave it out and let the lab make one"
        )
    return text


def _spki(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _usage(*, sign_certificates: bool = False, encipher: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_encipherment=encipher,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
