"""Whether two ECDSA signatures give their private key away, which is proven by computing it.

A signature of the digest z is (r, s) with s = (z + r d) / k modulo the order n of the curve; r depends on the nonce k
alone. Two signatures of different digests with one nonce are two equations with two unknowns:

    k = (z1 - z2) / (s1 - s2),    d = (s1 k - z1) / r

k and -k have the same r, and whoever normalises s (to the lower half, as Bitcoin does) may have turned one of them
round: so s1 + s2 is tried, too. The key is right if and only if d times the generator is the public key.

Sources: FIPS 186-5, 6.4 (ECDSA; of a digest longer than the order the leftmost bits count); SEC 2 v2, 2.4.2 and 2.5.1
(the orders of P-256 and P-384).

The key is never given out: what comes back are truths and counts. It stays in freed memory, though, so whoever lives
longer than a moment asks lab.record.proving, which computes it in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

ORDERS: Final = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}  # fmt: skip
_TRIED: Final = 64  # pairs of one group: any will do if one nonce made them, and none if not


@dataclass(frozen=True)
class Proof:
    """What signatures of one key show.

    repeated: signatures whose r another one has that signs a different digest. pair: places of the two that the key
    was computed from; None where it was not.
    """

    repeated: int
    pair: tuple[int, int] | None

    @property
    def proven(self) -> bool:
        """Whether the private key was computed, and found to be the public key's."""
        return self.pair is not None


@dataclass(frozen=True)
class _Numbers:
    place: int
    s: int
    z: int


def proves_key(public_pem: str, signatures: Sequence[tuple[bytes, bytes]]) -> Proof:
    """Tries to compute the private key from signatures that share a nonce.

    public_pem: a key on P-256 or P-384; of any other nothing is proven. signatures: pairs of a digest and a signature
    as PKCS#11 has it (r and s, of equal length). They need not be verified: what is no signature by this key proves
    nothing. Raises ValueError where the text is no public key.
    """
    key = load_pem_public_key(public_pem.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in ORDERS:
        return Proof(0, None)
    order = ORDERS[key.curve.name]
    groups: dict[int, list[_Numbers]] = {}
    for place, (digest, signature) in enumerate(signatures):
        half = len(signature) // 2
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        if len(signature) == 2 * half and 0 < r < order and 0 < s < order:
            groups.setdefault(r, []).append(_Numbers(place, s, _leftmost(digest, order)))
    repeated = 0
    pair = None
    for r, group in groups.items():
        if len({each.z for each in group}) < 2:
            continue  # the same data twice: RFC 6979 signs so by design
        repeated += len(group)
        pair = pair or _giving_away(key, order, r, group)
    return Proof(repeated, pair)


def _leftmost(digest: bytes, order: int) -> int:
    """A digest as ECDSA's number z: as many of its leftmost bits as the order has."""
    return (int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - order.bit_length())) % order


def _giving_away(
    key: ec.EllipticCurvePublicKey, order: int, r: int, group: Iterable[_Numbers]
) -> tuple[int, int] | None:
    tried = 0
    for one, other in combinations(group, 2):
        if one.z == other.z:
            continue
        if _is_key(key, order, r, one, other):
            return one.place, other.place
        tried += 1
        if tried == _TRIED:
            break
    return None


def _is_key(key: ec.EllipticCurvePublicKey, order: int, r: int, one: _Numbers, other: _Numbers) -> bool:
    for divisor in ((one.s - other.s) % order, (one.s + other.s) % order):
        if not divisor:
            continue
        nonce = (one.z - other.z) * pow(divisor, -1, order) % order
        private = (one.s * nonce - one.z) * pow(r, -1, order) % order
        # 0 times the generator is no public key
        right = private != 0 and (
            ec.derive_private_key(private, key.curve).public_key().public_numbers() == key.public_numbers()
        )
        del nonce, private
        if right:
            return True
    return False
