"""The five kinds of keys: how each is made, recognised and turned into a PEM public key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from lab.record.names import MECHANISM

CKK_RSA, CKK_EC = 0x0, 0x3
CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_EC_KEY_PAIR_GEN = 0x0, 0x1040


@dataclass(frozen=True)
class KeyKind:
    """One kind of key. `curve` is the DER of its CKA_EC_PARAMS (RFC 5480: a named curve's OID); empty for RSA."""

    type: Literal["RSA", "EC"]
    bits: int
    curve: bytes = b""


KEYS: Final = {
    "ec-p256": KeyKind("EC", 256, bytes.fromhex("06082a8648ce3d030107")),
    "ec-p384": KeyKind("EC", 384, bytes.fromhex("06052b81040022")),
    "rsa-2048": KeyKind("RSA", 2048),
    "rsa-3072": KeyKind("RSA", 3072),
    "rsa-4096": KeyKind("RSA", 4096),
}

# Some tokens give CKA_EC_PARAMS as a PrintableString (PKCS #11 v3.0, "curveName") instead of the OID.
_CURVE_NAMES: Final = {b"secp256r1": "ec-p256", b"prime256v1": "ec-p256", b"secp384r1": "ec-p384"}


def key_names(kind: str, count: int = 1) -> tuple[str, ...]:
    """Names of the keys of one kind that an arm uses: the kind, or, where there are several, the kind and a number.

    They are the names that Token takes and Prepared gives; a token's own label of a key is made from its name.
    """
    return (kind,) if count == 1 else tuple(f"{kind}-{place}" for place in range(count))


def kind_of(name: str) -> str:
    """The kind of the key of that name."""
    return name if name in KEYS else name.rpartition("-")[0]


def mechanisms_for(kind: str) -> tuple[str, ...]:
    """Names of the mechanisms that sign with a key of this kind."""
    wanted = "RSA" if KEYS[kind].type == "RSA" else "ECDSA"
    return tuple(name for name in MECHANISM if wanted in name)


def curve_kind(parameters: bytes) -> str | None:
    """The key kind of a CKA_EC_PARAMS; None for a curve that the lab does not know."""
    for name, key in KEYS.items():
        if key.curve and key.curve == parameters:
            return name
    return _CURVE_NAMES.get(parameters[2:]) if parameters[:1] == b"\x13" else None


def rsa_pem(modulus: bytes, exponent: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
    return numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def ec_pem(kind: str, point: bytes) -> str:
    """`point` is a CKA_EC_POINT: a DER OCTET STRING around the point, or, from some tokens, the bare point."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    curve = ec.SECP256R1() if kind == "ec-p256" else ec.SECP384R1()
    bare = 1 + 2 * (KEYS[kind].bits // 8)
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point[-bare:])
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def certificate_pem(der: bytes) -> tuple[str, int]:
    """The public key of an X.509 certificate with an RSA or EC key, and its size in bits."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(der).public_key()
    bits = key.key_size if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else 0
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), bits
