"""ECDSA as the textbook has it, with a nonce of the caller's: what tests repeat nonces with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_CURVES: Final[dict[str, ec.EllipticCurve]] = {"ec-p256": ec.SECP256R1(), "ec-p384": ec.SECP384R1()}
ORDERS: Final = {
    "ec-p256": 115792089210356248762697446949407573529996955224135760342422259061068512044369,
    "ec-p384": int(
        "39402006196394479212279040100143613805079739270465446667946905279627"
        "659399113263569398956308152294913554433653942643"
    ),
}
"""In decimal, as FIPS 186-4, D.1.2, has them."""


@dataclass(frozen=True)
class Key:
    """A private key of a kind, d times the generator."""

    kind: str
    d: int

    @property
    def public_pem(self) -> str:
        public = ec.derive_private_key(self.d, _CURVES[self.kind]).public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def order(self) -> int:
        return ORDERS[self.kind]

    @property
    def width(self) -> int:
        """Bytes of r and of s."""
        return (self.order.bit_length() + 7) // 8

    def numbers(self, digest: bytes, nonce: int) -> tuple[int, int]:
        """r and s."""
        point = ec.derive_private_key(nonce, _CURVES[self.kind]).public_key().public_numbers()
        z = int.from_bytes(digest, "big")
        z >>= max(0, 8 * len(digest) - self.order.bit_length())
        r = point.x % self.order
        return r, pow(nonce, -1, self.order) * (z + r * self.d) % self.order

    def sign(self, digest: bytes, nonce: int, *, turned: bool = False) -> bytes:
        """A signature as PKCS#11 has it; turned: with -s for s, which is right as well."""
        r, s = self.numbers(digest, nonce)
        return self.joined(r, -s % self.order if turned else s)

    def joined(self, r: int, s: int) -> bytes:
        return r.to_bytes(self.width, "big") + s.to_bytes(self.width, "big")
