"""The stub of calibration: it signs for real, takes as long as it is told, stalls once, and counts for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.native.build import SOURCES, compile_c

SIGN = """
import os, sys, time
from pathlib import Path
from lab.native.cryptoki import Cryptoki
from lab.record.names import MECHANISM
from lab.tokens import objects
stub = Cryptoki(Path(os.environ["STUB"]))
stub.initialize("os")
session = stub.open_session(stub.find_token("stub"))
stub.login(session, "any")
key = objects.find_private(stub, session, "stub")
took = []
for place in range(int(sys.argv[1])):
    started = time.monotonic_ns()
    stub.sign_init(session, MECHANISM["ECDSA"], key)
    signature = stub.sign(session, bytes([place]) * 32)
    took.append(time.monotonic_ns() - started)
pem = objects.public_pem(stub, session, key, "ec-p256", "stub")
print(*took)
print(signature.hex())
print(pem)
"""


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(tmp_path_factory.mktemp("stub") / "stub.so", SOURCES / "stub.c", libraries=("crypto",))


def sign(stub: Path, many: int, **told: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **told, "STUB": str(stub), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SIGN, str(many)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_its_signatures_verify_with_its_public_key(stub: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    _, signature, pem = sign(stub, 1).stdout.split("\n", 2)
    r, s = (int(part, 16) for part in (signature[:64], signature[64:]))
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(encode_dss_signature(r, s), bytes(32), ec.ECDSA(Prehashed(SHA256())))


def test_no_signature_is_done_before_its_time_and_one_stalls(stub: Path) -> None:
    told = {"LAB_STUB_SERVICE_NS": "2000000", "LAB_STUB_STALL_CALL": "3", "LAB_STUB_STALL_NS": "50000000"}
    took = [int(ns) for ns in sign(stub, 5, **told).stdout.split("\n")[0].split()]
    assert min(took) >= 2_000_000
    assert took[2] >= 52_000_000


def test_it_counts_the_signatures_of_all_its_processes(stub: Path, tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_bytes(bytes(8))
    for many in (3, 4):
        assert sign(stub, many, LAB_STUB_COUNT=str(count)).returncode == 0
    assert int.from_bytes(count.read_bytes(), "little") == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [("LAB_STUB_SERVICE_NS", "soon"), ("LAB_STUB_STALL_NS", "-1"), ("LAB_STUB_COUNT", "/nowhere/count")],
)
def test_what_it_cannot_do_as_told_it_does_not_begin(stub: Path, name: str, value: str) -> None:
    done = sign(stub, 1, **{name: value})
    assert done.returncode != 0
    assert "C_Initialize answered CKR_GENERAL_ERROR" in done.stderr
