"""What a client keeps of a server's signature: whoever has it can verify it, and so it is what the server signed."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from lab.record.dtypes import HEARD
from lab.record.rowfile import read_outputs
from tests.native.answering import MS, NAME, Credential, Party, credential, greet, party, serving, shake
from tests.native.build import TESTS, compile_c
from tests.native.test_sanitizers import OPTIONS, SANITIZERS

ROUNDS = 90
HASHES: dict[int, hashes.HashAlgorithm] = {32: hashes.SHA256(), 48: hashes.SHA384(), 64: hashes.SHA512()}
COUNT = 6


def heard_by(one: Party) -> Any:
    """The rows of all handshakes that kept one."""
    file = one.operations()
    outputs = read_outputs(one.folder / f"outputs-{one.generator.process}.rows")
    assert outputs is not None
    assert set(file.rows["length"].tolist()) <= {0, HEARD.itemsize}
    return np.ascontiguousarray(outputs[file.places[file.rows["length"] > 0]]).view(HEARD)[:, 0]


def verify(row: Any, certificate: bytes) -> None:
    """Raises InvalidSignature where it is not what the certificate's key signed."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = row["point"][: row["point_bytes"]].tobytes()
    assert ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point).public_numbers() == key.public_numbers()
    assert row["scalar_bytes"] == key.curve.key_size // 8
    r, s = (int.from_bytes(row[name].tobytes(), "big") for name in ("r", "s"))
    digest = row["digest"][: row["digest_bytes"]].tobytes()
    key.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(HASHES[int(row["digest_bytes"])])))


def play(folder: Path, served: Credential, context: ssl.SSLContext, **changes: Any) -> Any:
    with serving(shake(context)) as server, party(folder, greet(server.port, served.der, **changes)) as one:
        assert one.open_loop([i * MS for i in range(COUNT)]) == COUNT
        assert not one.operations().rows["code"].any()
        return heard_by(one)


@pytest.mark.parametrize("curve", ["P-256", "P-384"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_was_heard_verifies_with_the_server_s_key(version: str, curve: str, tmp_path: Path) -> None:
    served = credential(tmp_path, NAME, curve=ec.SECP256R1() if curve == "P-256" else ec.SECP384R1())
    rows = play(tmp_path, served, served.context(version), version=version)
    assert len(rows) == COUNT
    for row in rows:
        verify(row, served.der)
    assert len({row["digest"].tobytes() for row in rows}) == COUNT


def test_a_hello_that_has_to_be_repeated_is_heard_as_the_server_signed_it(tmp_path: Path) -> None:
    """A server that has none of the client's first groups asks again: the transcript begins with a hash then."""
    served = credential(tmp_path)
    context = served.context("1.3")
    context.set_ecdh_curve("secp384r1")
    rows = play(tmp_path, served, context)
    assert len(rows) == COUNT
    for row in rows:
        verify(row, served.der)


def test_a_cipher_with_another_hash_is_heard(tmp_path: Path) -> None:
    served = credential(tmp_path)
    context = served.context("1.2")
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    rows = play(tmp_path, served, context, version="1.2")
    assert len(rows) == COUNT
    for row in rows:
        verify(row, served.der)


def test_a_long_chain_is_heard(tmp_path: Path) -> None:
    """More than the first room for messages."""
    served = credential(tmp_path)
    chain = tmp_path / "chain.pem"
    others = "".join(ssl.DER_cert_to_PEM_cert(credential(tmp_path).der) for _ in range(20))
    chain.write_text(served.pem.read_text() + others)
    context = Credential(chain, served.der).context("1.3")
    rows = play(tmp_path, served, context)
    assert len(rows) == COUNT
    for row in rows:
        verify(row, served.der)


def test_a_resumed_session_has_no_signature(tmp_path: Path) -> None:
    served = credential(tmp_path)
    context = served.context("1.2")
    with (
        serving(shake(context)) as server,
        party(tmp_path, greet(server.port, served.der, version="1.2", resume=True)) as one,
    ):
        one.closed_loop(100 * MS, slots=1)
        resumed = one.connections().rows["resumed"]
        assert resumed.sum() > 0
        assert (one.operations().rows["length"] == 0).tolist() == (resumed == 1).tolist()


def test_nothing_is_heard_of_another_curve_or_another_algorithm(tmp_path: Path) -> None:
    served = credential(tmp_path, curve=ec.SECP521R1())
    assert len(play(tmp_path, served, served.context())) == 0


def test_messages_that_are_damaged_do_no_harm(tmp_path: Path) -> None:
    program = compile_c(
        tmp_path / "fuzz",
        TESTS / "heard_fuzz.c",
        flags=SANITIZERS["address"],
        libraries=("ssl", "crypto"),
        shared=False,
    )
    command = [program, credential(tmp_path).pem, "42688", str(ROUNDS)]
    done = subprocess.run(command, env=os.environ | OPTIONS, capture_output=True, text=True, timeout=100)
    assert (done.stderr, done.returncode) == ("", 0)
    handshakes, whole, damaged = map(int, done.stdout.split())
    assert (handshakes, whole) == (ROUNDS, ROUNDS)
    assert 0 < damaged < 8 * ROUNDS  # some are still whole enough, and some are refused
