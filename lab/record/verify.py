"""Every signature is checked with the public key, after the timing, by code that shares nothing with the module."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from numpy.typing import NDArray

from lab.record.columns import RIGHT, WRONG
from lab.record.mechanisms import Mechanism

_CHUNK: Final = 2048
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # only because a token may be asked for it
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def expand(inputs: NDArray[np.uint64], length: int) -> NDArray[np.uint8]:
    """The signed data of each operation, shape (len(inputs), length): splitmix64 of the row's input, as in drive.c."""
    words = -(-length // 8)
    steps = np.arange(1, words + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = inputs.astype(np.uint64)[:, None] + steps[None, :]  # wraps, as it must
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.ascontiguousarray(z.astype("<u8")).view(np.uint8)[:, :length]


def verify(
    mechanism: Mechanism, public_pem: str, inputs: NDArray[np.uint64], outputs: NDArray[np.uint8], lengths: NDArray[Any]
) -> NDArray[np.int8]:
    """RIGHT or WRONG for each operation. `outputs` has one signature a row, `lengths` the bytes that each really has.

    Verification holds no GIL, so threads share the work. Raises ValueError where the key does not fit the mechanism.
    """
    check = _checker(mechanism, load_pem_public_key(public_pem.encode()))
    data = expand(inputs, mechanism.data_bytes)
    verdicts = np.full(len(inputs), WRONG, np.int8)

    def part(start: int) -> None:
        for i in range(start, min(start + _CHUNK, len(inputs))):
            try:
                check(outputs[i, : lengths[i]].tobytes(), data[i].tobytes())
            except InvalidSignature:
                continue
            verdicts[i] = RIGHT

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(part, range(0, len(inputs), _CHUNK)))
    return verdicts


def is_right(mechanism: Mechanism, public_pem: str, signed: bytes, signature: bytes) -> bool:
    """Whether one signature of a digest (or, where the token hashes, of a message) is the key's."""
    try:
        _checker(mechanism, load_pem_public_key(public_pem.encode()))(signature, signed)
    except InvalidSignature:
        return False
    return True


def _checker(mechanism: Mechanism, key: Any) -> Callable[[bytes, bytes], None]:
    algorithm = _HASHES[mechanism.hash]
    hashed = algorithm if mechanism.hashed_by_token else utils.Prehashed(algorithm)
    if mechanism.family == "ec":
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("the public key is not an EC key")
        return _ec_checker(key, ec.ECDSA(hashed))
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("the public key is not an RSA key")
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if mechanism.padding == "pss":
        scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    return lambda signature, data: key.verify(signature, data, scheme, hashed)


def _ec_checker(key: ec.EllipticCurvePublicKey, how: ec.ECDSA) -> Callable[[bytes, bytes], None]:
    def check(signature: bytes, data: bytes) -> None:
        half = len(signature) // 2
        if not half:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        key.verify(utils.encode_dss_signature(r, s), data, how)

    return check
