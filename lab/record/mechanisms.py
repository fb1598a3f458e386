"""Signature mechanisms: what is handed to C_Sign for a key, so that worker and verification agree byte for byte.

Source: PKCS #11 v2.40 current mechanisms, sections 2.1 (RSA) and 2.3 (EC); the DigestInfo is RFC 8017, section 9.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from lab.record.names import MECHANISM

HASH_BYTES: Final = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
SIGNATURE_BYTES: Final = {"ec-p256": 64, "ec-p384": 96, "rsa-2048": 256, "rsa-3072": 384, "rsa-4096": 512}

_DIGEST_INFO_SHA256: Final = bytes.fromhex("3031300d060960864801650304020105000420")
_PSS: Final = {"sha256": (0x250, 0x2), "sha384": (0x260, 0x3), "sha512": (0x270, 0x4)}  # CKM_SHA*, CKG_MGF1_SHA*


@dataclass(frozen=True)
class Mechanism:
    """How one mechanism is called with one key, and how its signatures are checked."""

    name: str
    number: int
    family: Literal["ec", "rsa"]
    hash: str
    hashed_by_token: bool
    padding: Literal["none", "pkcs1", "pss"]
    data_bytes: int  # of the digest, or of the message where the token hashes
    prefix: bytes  # before the data
    parameter: tuple[int, ...]  # CK_ULONGs
    signature_bytes: int


def mechanism(name: str, key: str) -> Mechanism:
    """The mechanism `name` (without CKM_) on a key of kind `key`. Raises KeyError where they do not go together."""
    family, number = _family(key), MECHANISM[name]
    if name.startswith("ECDSA") != (family == "ec"):
        raise KeyError(f"{name} does not sign with {key}")
    hashed_by_token = "SHA" in name
    hash_name = next((h for h in HASH_BYTES if h.upper() in name), "sha384" if key == "ec-p384" else "sha256")
    padding: Literal["none", "pkcs1", "pss"] = "none" if family == "ec" else "pss" if name.endswith("PSS") else "pkcs1"
    return Mechanism(
        name=name,
        number=number,
        family=family,
        hash=hash_name,
        hashed_by_token=hashed_by_token,
        padding=padding,
        data_bytes=HASH_BYTES[hash_name],
        prefix=_DIGEST_INFO_SHA256 if name == "RSA_PKCS" else b"",
        parameter=(*_PSS[hash_name], HASH_BYTES[hash_name]) if padding == "pss" else (),
        signature_bytes=SIGNATURE_BYTES[key],
    )


def _family(key: str) -> Literal["ec", "rsa"]:
    return "ec" if key.startswith("ec-") else "rsa"
