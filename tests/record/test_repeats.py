"""Repeated nonces found and proven when a trial is sealed, of signing trials and of handshakes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from lab.record import nonces, proving, repeats
from lab.record.columns import RIGHT, WRONG
from lab.record.dtypes import CALL, CONNECTION, ENDED, HEARD, KIND, OPERATION, PHASE, SIDE
from lab.record.mechanisms import mechanism
from lab.record.model import NoncesRecord, TrialRecord
from lab.record.nonces import Proof
from lab.record.proving import Case
from lab.record.repeats import Signatures
from lab.record.row_columns import Verification
from lab.record.rowfile import read_rows
from lab.record.seal import seal
from lab.record.verify import expand
from tests.row_files import rows, write_rows
from tests.textbook import Key
from tests.trial_builder import generator, record, worker

P256, P384, OTHER = Key("ec-p256", 0xA11CE), Key("ec-p384", 0xB0B), Key("ec-p256", 0xCA401)
PUBLIC = P256.public_pem
RELEASE_NS = 1_000


def signing(
    folder: Path, process: int, key: Key, name: str, signed: Sequence[tuple[int, int]], first_ns: int = RELEASE_NS
) -> None:
    """The files of a process that signed the data of each input with a nonce."""
    how = mechanism(name, key.kind)
    made = []
    for number, nonce in signed:
        data = expand(np.array([number], np.uint64), how.data_bytes)[0].tobytes()
        made.append(key.sign(hashlib.new(how.hash, data).digest() if how.hashed_by_token else data, nonce))
    outputs = np.array(made, f"V{how.signature_bytes}")
    count = len(signed)
    operations = rows(
        OPERATION,
        state=[ENDED] * count,
        kind=[KIND["sign"]] * count,
        phase=[PHASE["measured"]] * count,
        sequence=list(range(count)),
        started_ns=[first_ns + i for i in range(count)],
        input=[number for number, _ in signed],
        length=[how.signature_bytes] * count,
    )
    write_rows(folder / f"operations-{process}.rows", operations, pid=1000 + process, process=process)
    write_rows(folder / f"outputs-{process}.rows", outputs, pid=1000 + process, process=process)
    called = rows(CALL, state=[ENDED], function=[1])
    write_rows(folder / f"calls-{1000 + process}.rows", called, pid=1000 + process, process=0)


def sealed(folder: Path, key: Key, name: str = "ECDSA", processes: int = 3) -> NoncesRecord:
    check = Verification(mechanism(name, key.kind), key.kind, key.public_pem)
    trial = record(*(worker(index, 9) for index in range(1, processes + 1)))
    found = seal(folder, trial, check).nonces
    assert found is not None
    stored = TrialRecord.from_json(json.loads((folder / "trial.json").read_text()))
    assert stored.nonces == found
    return found


@pytest.mark.parametrize(
    ("key", "name"),
    [(P256, "ECDSA"), (P384, "ECDSA"), (P256, "ECDSA_SHA1"), (P256, "ECDSA_SHA512"), (P384, "ECDSA_SHA256")],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_a_nonce_that_two_processes_share_gives_the_key_away(key: Key, name: str, tmp_path: Path) -> None:
    signing(tmp_path, 1, key, name, [(11, 101), (12, 102), (13, 103)])
    signing(tmp_path, 2, key, name, [(21, 201), (22, 102)], first_ns=5_000)
    signing(tmp_path, 3, key, name, [(31, 301)])
    found = sealed(tmp_path, key, name)
    assert (found.signatures, found.repeated, found.processes) == (6, 2, (1, 2))
    assert (found.keys, found.keys_proven, found.proven) == (1, 1, True)
    assert found.first is not None
    assert [(each.process, each.sequence, each.at_ns) for each in found.first] == [(1, 1, 1001), (2, 1, 5001)]


def test_one_process_alone_can_give_the_key_away(tmp_path: Path) -> None:
    signing(tmp_path, 2, P256, "ECDSA", [(11, 101), (12, 102), (13, 101)])
    found = sealed(tmp_path, P256)
    assert (found.repeated, found.processes, found.proven) == (2, (2,), True)


def test_the_evidence_is_a_pair_of_two_processes_where_there_is_one(tmp_path: Path) -> None:
    signing(tmp_path, 1, P256, "ECDSA", [(11, 101), (12, 101)])
    signing(tmp_path, 2, P256, "ECDSA", [(21, 101)], first_ns=5_000)
    found = sealed(tmp_path, P256)
    assert found.first is not None
    assert [each.process for each in found.first] == [1, 2]


def test_a_nonce_and_its_negative_are_found_and_proven(tmp_path: Path) -> None:
    signing(tmp_path, 1, P384, "ECDSA", [(11, 101), (12, P384.order - 101)])
    assert sealed(tmp_path, P384).proven


def test_nonces_of_their_own_give_nothing_away(tmp_path: Path) -> None:
    signing(tmp_path, 1, P256, "ECDSA", [(11, 101), (12, 102)])
    signing(tmp_path, 2, P256, "ECDSA", [(21, 201)])
    assert sealed(tmp_path, P256) == NoncesRecord(3, 0, (), 0, 0, None)


def test_the_same_data_signed_twice_is_no_repeated_nonce(tmp_path: Path) -> None:
    signing(tmp_path, 1, P256, "ECDSA", [(11, 101), (12, 102)])
    signing(tmp_path, 2, P256, "ECDSA", [(11, 101)])
    assert sealed(tmp_path, P256) == NoncesRecord(3, 0, (), 0, 0, None)


def test_a_signature_that_is_wrong_is_not_looked_at(tmp_path: Path) -> None:
    """The second process signs with another key: its signatures share r with the first's, and do not verify."""
    signing(tmp_path, 1, P256, "ECDSA", [(11, 101), (12, 102)])
    signing(tmp_path, 2, OTHER, "ECDSA", [(21, 101), (22, 102)])
    assert sealed(tmp_path, P256) == NoncesRecord(2, 0, (), 0, 0, None)


def test_without_a_signature_there_is_nothing_to_tell(tmp_path: Path) -> None:
    signing(tmp_path, 1, OTHER, "ECDSA", [(11, 101)])
    check = Verification(mechanism("ECDSA", "ec-p256"), "ec-p256", P256.public_pem)
    assert seal(tmp_path, record(worker(1, 9)), check).nonces is None


def test_the_key_is_nowhere_in_what_is_sealed(tmp_path: Path) -> None:
    key = Key("ec-p256", int.from_bytes(b"thirty-two bytes to be found....", "big"))
    signing(tmp_path, 1, key, "ECDSA", [(11, 101), (12, 101)])
    assert sealed(tmp_path, key).proven
    secret = key.d.to_bytes(32, "big")
    spelled = (secret, secret.hex().encode(), str(key.d).encode(), hex(key.d).encode())
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert not any(form in content for form in spelled), path


def test_the_process_that_seals_computes_no_key_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signing(tmp_path, 1, P256, "ECDSA", [(11, 101), (12, 101)])

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"a private key is computed here: {len(arguments)} arguments")

    monkeypatch.setattr(nonces, "proves_key", refuse)
    monkeypatch.setattr(proving, "proves_key", refuse)
    monkeypatch.setattr(ec, "derive_private_key", lambda d, curve: refuse(d, curve))
    check = Verification(mechanism("ECDSA", "ec-p256"), "ec-p256", PUBLIC)
    found = seal(tmp_path, record(worker(1, 9)), check).nonces
    assert found is not None
    assert found.proven


# handshakes

Heard = tuple[Key, bytes, int]
"""The server's key, what it signed, and its nonce."""


def client(folder: Path, heard: Sequence[Heard], randoms: Sequence[int], process: int = 9) -> None:
    kept = np.zeros(len(heard), HEARD)
    for row, (key, data, nonce) in zip(kept, heard, strict=True):
        digest = hashlib.sha256(data).digest()
        signature = key.sign(digest, nonce)
        public = load_pem_public_key(key.public_pem.encode())
        assert isinstance(public, ec.EllipticCurvePublicKey)
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        row["scalar_bytes"], row["digest_bytes"], row["point_bytes"] = key.width, len(digest), len(point)
        for name, content in (("r", signature[: key.width]), ("s", signature[key.width :])):
            row[name][-key.width :] = np.frombuffer(content, np.uint8)
        row["digest"][: len(digest)] = np.frombuffer(digest, np.uint8)
        row["point"][: len(point)] = np.frombuffer(point, np.uint8)
    count = len(heard)
    operations = rows(
        OPERATION,
        state=[ENDED] * count,
        kind=[KIND["handshake"]] * count,
        phase=[PHASE["measured"]] * count,
        sequence=list(range(count)),
        started_ns=[RELEASE_NS + i for i in range(count)],
        length=[HEARD.itemsize] * count,
    )
    ends = rows(CONNECTION, state=[ENDED] * count, side=[SIDE["client"]] * count, random=list(randoms))
    for what, table in (("operations", operations), ("connections", ends), ("outputs", kept)):
        write_rows(folder / f"{what}-{process}.rows", table, pid=1000 + process, process=process)


def server(folder: Path, process: int, randoms: Sequence[int]) -> None:
    ends = rows(CONNECTION, state=[ENDED] * len(randoms), side=[SIDE["server"]] * len(randoms), random=list(randoms))
    write_rows(folder / f"connections-{process}.rows", ends, pid=1000 + process, process=process)


def of_handshakes(folder: Path) -> NoncesRecord:
    found = seal(folder, record(worker(1), worker(2), generator(9, 9)), None).nonces
    assert found is not None
    return found


def test_two_handshakes_with_one_nonce_give_the_server_s_key_away(tmp_path: Path) -> None:
    client(tmp_path, [(P256, b"a", 5), (P256, b"b", 6), (P256, b"c", 5)], [71, 72, 73])
    server(tmp_path, 1, [72, 71])
    server(tmp_path, 2, [73])
    found = of_handshakes(tmp_path)
    assert (found.signatures, found.repeated, found.processes, found.proven) == (3, 2, (1, 2), True)
    assert found.first is not None
    assert [(each.process, each.sequence) for each in found.first] == [(1, 0), (2, 2)]


def test_each_key_is_proven_by_its_own_signatures(tmp_path: Path) -> None:
    """The third host shares its nonce with the first, which is no proof of either."""
    third = Key("ec-p256", 0xDEAD)
    heard = [(P256, b"a", 5), (P384, b"b", 5), (third, b"c", 5), (P256, b"d", 5), (P384, b"e", 5)]
    client(tmp_path, heard, range(71, 76))
    server(tmp_path, 1, range(71, 76))
    found = of_handshakes(tmp_path)
    assert (found.signatures, found.repeated, found.keys, found.keys_proven) == (5, 4, 2, 2)


def test_of_a_server_that_the_lab_did_not_start_the_process_is_not_known(tmp_path: Path) -> None:
    client(tmp_path, [(P256, b"a", 5), (P256, b"b", 5)], [71, 72])
    found = of_handshakes(tmp_path)
    assert (found.processes, found.proven) == ((), True)
    assert found.first is not None
    assert [each.process for each in found.first] == [None, None]


def test_handshakes_of_two_generators_are_looked_at_together(tmp_path: Path) -> None:
    client(tmp_path, [(P384, b"a", 5)], [71], process=8)
    client(tmp_path, [(P384, b"b", 5)], [72], process=9)
    found = seal(tmp_path, record(generator(8, 1), generator(9, 1)), None).nonces
    assert found is not None
    assert (found.repeated, found.proven) == (2, True)


# many


def many(count: int, r: Any) -> Signatures:
    at = np.arange(count)
    return Signatures(
        r=np.asarray(r, np.uint64),
        data=at.astype(np.uint64),
        key=np.zeros(count, np.uint64),
        process=at % 4 + 1,
        at_ns=at,
        row=lambda place: {"thread": 0, "sequence": place, "vhost": 0},
        read=lambda place: repeats.Read(P256.public_pem, str(place).encode(), P256.sign(str(place).encode(), 5)),
    )


def test_what_is_found_among_many_is_what_a_search_of_each_with_each_finds() -> None:
    chance = np.random.default_rng(42688)
    for _ in range(20):
        parts = [many(40, chance.integers(0, 60, 40)) for _ in range(3)]
        for part in parts:
            part.data[:] = chance.integers(0, 3, 40)
        r, data = (np.concatenate([getattr(part, name) for part in parts]).tolist() for name in ("r", "data"))
        wanted = {
            place
            for one, other in itertools.permutations(range(120), 2)
            if r[one] == r[other] and data[one] != data[other]
            for place in (one, other)
        }
        found = repeats.find(parts)
        assert found is not None
        assert found.repeated == len(wanted)


def test_a_key_is_tried_a_few_times_only_however_many_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def prove(cases: Sequence[Case]) -> list[Proof]:
        asked.extend(len(case.signatures) for case in cases)
        return [Proof(0, None) for _ in cases]

    monkeypatch.setattr(repeats, "prove", prove)
    found = repeats.find([many(100_000, np.arange(100_000) // 2)])
    assert asked == [2 * repeats.GROUPS_TRIED]
    assert found is not None
    assert (found.repeated, found.keys, found.keys_proven, found.processes) == (100_000, 1, 0, (1, 2, 3, 4))
    assert found.first is not None  # a suspicion has its evidence, too


def test_verified_is_what_decides_not_the_length(tmp_path: Path) -> None:
    signing(tmp_path, 1, P256, "ECDSA", [(11, 101), (12, 101)])
    file = read_rows(tmp_path / "operations-1.rows", OPERATION)
    assert file is not None
    check = Verification(mechanism("ECDSA", "ec-p256"), "ec-p256", P256.public_pem)
    one = repeats.of_signing(tmp_path, file, np.array([RIGHT, WRONG], np.int8), check)
    assert one is not None
    assert one.r.size == 1
