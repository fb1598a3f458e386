"""Keys as objects of a logged-in session: find, check, read and generate. Only the throw-away process uses this."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from lab.native.cryptoki import AttributeValue, Cryptoki, CryptokiError
from lab.tokens.keys import (
    CKK_EC,
    CKK_RSA,
    CKM_EC_KEY_PAIR_GEN,
    CKM_RSA_PKCS_KEY_PAIR_GEN,
    KEYS,
    certificate_pem,
    curve_kind,
    ec_pem,
    rsa_pem,
)
from lab.tokens.request import DECRYPT, SIGN, Refused

CKO_CERTIFICATE, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY = 1, 2, 3
CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_VALUE = 0x0, 0x1, 0x2, 0x3, 0x11
CKA_KEY_TYPE, CKA_ID, CKA_SENSITIVE = 0x100, 0x102, 0x103
CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY = 0x104, 0x105, 0x108, 0x10A
CKA_MODULUS, CKA_MODULUS_BITS, CKA_PUBLIC_EXPONENT, CKA_EXTRACTABLE = 0x120, 0x121, 0x122, 0x162
CKA_EC_PARAMS, CKA_EC_POINT = 0x180, 0x181

ID_BYTES: Final = 8
_MOST_LISTED: Final = 16


def find_private(module: Cryptoki, session: int, label: str) -> int | None:
    """Handle of the private key with this label; None where there is none. Raises Refused where there are several."""
    found = module.find_objects(session, {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: label})
    if len(found) > 1:
        raise Refused("token.key_label", f'{len(found)} private keys are labelled "{label}"; the lab needs just one')
    return found[0] if found else None


def private_labels(module: Cryptoki, session: int) -> list[str]:
    """Labels of the token's private keys, sorted, the first few of them."""
    handles = module.find_objects(session, {CKA_CLASS: CKO_PRIVATE_KEY}, _MOST_LISTED)
    return sorted((_read(module, session, handle, CKA_LABEL) or b"").decode("utf-8", "replace") for handle in handles)


def check_uses(module: Cryptoki, session: int, private: int, label: str, uses: Sequence[str]) -> None:
    """Raises Refused where a private key may not do what it is for."""
    for use, attribute, name in ((SIGN, CKA_SIGN, "CKA_SIGN"), (DECRYPT, CKA_DECRYPT, "CKA_DECRYPT")):
        if use in uses and _read(module, session, private, attribute) == b"\0":
            raise Refused("token.key_label", f'key "{label}" is not allowed to {use} ({name} is false)')


def public_pem(module: Cryptoki, session: int, private: int, kind: str, label: str) -> str:
    """The public half of a private key, as PEM.

    From the public key object with the same CKA_ID (or label, where there is no id), else from a certificate, else from
    the private key object itself. Raises Refused where the key is not of `kind`, or shows no public half.
    """
    _want(kind, label, _type_name(_number(module, session, private, CKA_KEY_TYPE)), KEYS[kind].type)
    same = _siblings(module, session, private, label)
    holders = [*module.find_objects(session, {CKA_CLASS: CKO_PUBLIC_KEY, **same}), private]
    for holder in holders:
        if KEYS[kind].type == "RSA":
            modulus = _read(module, session, holder, CKA_MODULUS)
            exponent = _read(module, session, holder, CKA_PUBLIC_EXPONENT)
            if modulus and exponent:
                bits = int.from_bytes(modulus, "big").bit_length()
                _want(kind, label, f"RSA of {bits} bits", f"RSA of {KEYS[kind].bits} bits")
                return rsa_pem(modulus, exponent)
        else:
            parameters = _read(module, session, holder, CKA_EC_PARAMS)
            point = _read(module, session, holder, CKA_EC_POINT)
            if parameters and point:
                _want(kind, label, curve_kind(parameters) or "EC on another curve", kind)
                return ec_pem(kind, point)
    for holder in module.find_objects(session, {CKA_CLASS: CKO_CERTIFICATE, **same}):
        if certificate := _read(module, session, holder, CKA_VALUE):
            pem, bits = certificate_pem(certificate)
            _want(kind, label, f"{KEYS[kind].type} of {bits} bits", f"{KEYS[kind].type} of {KEYS[kind].bits} bits")
            return pem
    raise Refused("token.key_label", f'key "{label}" has no public key or certificate on the token to verify with')


def new_id() -> str:
    """A CKA_ID in hex, drawn at random, so it is nobody else's."""
    return secrets.token_hex(ID_BYTES)


def generate(module: Cryptoki, session: int, kind: str, label: str, identity_hex: str) -> str:
    """Makes a key pair of this kind, which stays on the token and cannot leave it. Returns its CKA_ID in hex.

    It signs; of RSA it decrypts too, as the key of a server does whose TLS 1.2 takes static RSA.
    """
    key = KEYS[kind]
    identity = bytes.fromhex(identity_hex)
    shared: dict[int, AttributeValue] = {CKA_TOKEN: True, CKA_LABEL: label, CKA_ID: identity}
    shape: dict[int, AttributeValue]
    public: dict[int, AttributeValue] = {CKA_VERIFY: True}
    private: dict[int, AttributeValue] = {
        CKA_PRIVATE: True,
        CKA_SENSITIVE: True,
        CKA_EXTRACTABLE: False,
        CKA_SIGN: True,
    }
    if key.type == "EC":
        shape = {CKA_EC_PARAMS: key.curve}
    else:
        shape = {CKA_MODULUS_BITS: key.bits, CKA_PUBLIC_EXPONENT: b"\x01\x00\x01"}
        public[CKA_ENCRYPT] = private[CKA_DECRYPT] = True
    module.generate_key_pair(
        session,
        CKM_EC_KEY_PAIR_GEN if key.type == "EC" else CKM_RSA_PKCS_KEY_PAIR_GEN,
        {**shared, **shape, **public},
        {**shared, **private},
    )
    return identity.hex()


def destroy(module: Cryptoki, session: int, identity: str) -> None:
    """Deletes the key pair with this CKA_ID (hex), which generate() drew at random, so it is nobody else's."""
    for kind in (CKO_PRIVATE_KEY, CKO_PUBLIC_KEY):
        for handle in module.find_objects(session, {CKA_CLASS: kind, CKA_ID: bytes.fromhex(identity)}):
            module.destroy_object(session, handle)


def _siblings(module: Cryptoki, session: int, private: int, label: str) -> Mapping[int, AttributeValue]:
    identity = _read(module, session, private, CKA_ID)
    return {CKA_ID: identity} if identity else {CKA_LABEL: label}


def _want(kind: str, label: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise Refused("token.key_label", f'key "{label}" is {found}, but workload.key is {kind}')


def _type_name(number: int) -> str:
    return {CKK_RSA: "RSA", CKK_EC: "EC"}.get(number, f"of type CKK_{number:#x}")


def _number(module: Cryptoki, session: int, handle: int, attribute: int) -> int:
    return int.from_bytes(module.attribute(session, handle, attribute), "little")


def _read(module: Cryptoki, session: int, handle: int, attribute: int) -> bytes | None:
    """One attribute; None where the object does not have it or does not show it."""
    try:
        return module.attribute(session, handle, attribute)
    except CryptokiError:
        return None
