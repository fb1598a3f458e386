"""Two signatures with one nonce give the key away; what is no such pair proves nothing."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from lab.errors import LabFault
from lab.record import nonces, proving
from lab.record.nonces import proves_key
from lab.record.proving import Case, prove
from tests.textbook import ORDERS, Key

# RFC 6979, A.2.5 and A.2.6: keys, and the nonces of their signatures of "sample" by SHA-256 and SHA-384
P256 = Key("ec-p256", 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721)
P256_NONCE = 0xA6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60
P384 = Key(
    "ec-p384",
    0x6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5,
)
P384_NONCE = 0x94ED910D1A099DAD3254E9242AE85ABDE4BA15168EAF0CA87A555FD56D10FBCA2907E3E83BA95368623B8C4686915CF9
RFC_6979 = {
    "ec-p256": (
        P256, "sha256", P256_NONCE,
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    "ec-p384": (
        P384, "sha384", P384_NONCE,
        0x94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46,
        0x99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8,
    ),
}  # fmt: skip
SAMPLE, TEST, OTHER = b"sample", b"test", b"other"


def digest(data: bytes, name: str = "sha256") -> bytes:
    return hashlib.new(name, data).digest()


def signed(key: Key, nonce: int, *data: bytes, hash_name: str = "sha256") -> list[tuple[bytes, bytes]]:
    return [(digest(each, hash_name), key.sign(digest(each, hash_name), nonce)) for each in data]


@pytest.mark.parametrize("kind", RFC_6979)
def test_the_textbook_of_these_tests_signs_as_rfc_6979_does(kind: str) -> None:
    key, hash_name, nonce, r, s = RFC_6979[kind]
    assert key.numbers(digest(SAMPLE, hash_name), nonce) == (r, s)
    assert nonces.ORDERS[{"ec-p256": "secp256r1", "ec-p384": "secp384r1"}[kind]] == ORDERS[kind]


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("key", [P256, P384], ids=["P-256", "P-384"])
def test_two_signatures_with_one_nonce_prove_the_key_whatever_was_the_hash(key: Key, hash_name: str) -> None:
    proof = proves_key(key.public_pem, signed(key, P256_NONCE, SAMPLE, TEST, hash_name=hash_name))
    assert proof.proven
    assert (proof.repeated, proof.pair) == (2, (0, 1))


def test_a_published_pair_of_p384_gives_its_key_away() -> None:
    """Of a capture-the-flag contest: nccgroup/featherduster, tests/test_dsa_key_recovery.py, which has the key, too."""
    key = Key("ec-p384", int.from_bytes(b"ch0s3n_by_f4ir_dice_roll_gurant33d_to_be_r@nd0m", "big"))
    r = 0xA0289C0FA7E87F1AB1E94B577F43691EBD70C04B0E62CA7EAAF1791983D512E7BBC843EE3A2A0430455E9F755F832CCD
    both = {
        b"Students reported that students post to discussion forums more frequently and are irrevocable provided "
        b"the stated conditions are met.":
        0xCD7A46D769EE43467A01453214868094CA228CB5EEBC953A39FB9BBAF865F4DBE1DAD9B5F9F1BED75671E0DB5433F0ED,
        b"But is this enough? And what new threats could be using it as a friend or fan.[2]":
        0x54D4F8306FE11BD4A28A491DDF596C64CD98C93D7FA9A05ACEAD17E42E96ED1A190A2FDDD7C695B8D9BCE43F221B4E1B,
    }  # fmt: skip
    assert proves_key(key.public_pem, [(digest(data, "sha1"), key.joined(r, s)) for data, s in both.items()]).proven


@pytest.mark.parametrize("turned", [(True, False), (False, True), (True, True)])
def test_signatures_with_the_other_s_prove_the_key(turned: tuple[bool, bool]) -> None:
    pairs = [
        (digest(data), P256.sign(digest(data), P256_NONCE, turned=way))
        for data, way in zip((SAMPLE, TEST), turned, strict=True)
    ]
    assert proves_key(P256.public_pem, pairs).proven


def test_the_negative_of_a_nonce_is_as_bad_as_the_nonce() -> None:
    pairs = signed(P384, P384_NONCE, SAMPLE) + signed(P384, P384.order - P384_NONCE, TEST)
    assert pairs[0][1][: P384.width] == pairs[1][1][: P384.width]
    assert proves_key(P384.public_pem, pairs).proven


def test_the_pair_is_found_among_others() -> None:
    many = [signed(P256, nonce, str(nonce).encode())[0] for nonce in range(2, 40)]
    many[30:30] = signed(P256, P256_NONCE, SAMPLE)
    many[5:5] = signed(P256, P256_NONCE, TEST)
    proof = proves_key(P256.public_pem, many)
    assert (proof.repeated, proof.pair) == (2, (5, 31))


def test_the_same_data_signed_twice_is_no_proof() -> None:
    proof = proves_key(P256.public_pem, signed(P256, P256_NONCE, SAMPLE, SAMPLE, SAMPLE))
    assert (proof.repeated, proof.proven) == (0, False)


def test_other_data_are_found_behind_the_same_data() -> None:
    proof = proves_key(P256.public_pem, signed(P256, P256_NONCE, SAMPLE, SAMPLE, TEST))
    assert (proof.repeated, proof.pair) == (3, (0, 2))


def test_different_nonces_are_no_proof() -> None:
    pairs = signed(P256, P256_NONCE, SAMPLE) + signed(P256, P256_NONCE + 1, TEST)
    proof = proves_key(P256.public_pem, pairs)
    assert (proof.repeated, proof.proven) == (0, False)


def test_an_r_that_was_put_there_is_no_proof() -> None:
    (_, right), (other_digest, other) = signed(P256, P256_NONCE, SAMPLE) + signed(P256, P256_NONCE + 1, TEST)
    forged = right[: P256.width] + other[P256.width :]
    proof = proves_key(P256.public_pem, [(digest(SAMPLE), right), (other_digest, forged)])
    assert (proof.repeated, proof.proven) == (2, False)


def test_one_nonce_with_two_keys_is_no_proof_of_either() -> None:
    strangers = Key("ec-p256", P256.d + 1)
    pairs = signed(P256, P256_NONCE, SAMPLE) + signed(strangers, P256_NONCE, TEST)
    assert not proves_key(P256.public_pem, pairs).proven
    assert not proves_key(strangers.public_pem, pairs).proven


def test_a_proof_is_of_its_own_key_alone() -> None:
    pairs = signed(P256, P256_NONCE, SAMPLE, TEST)
    assert not proves_key(Key("ec-p256", P256.d + 1).public_pem, pairs).proven
    assert not proves_key(P384.public_pem, pairs).proven


@pytest.mark.parametrize("signature", [b"", b"\1", bytes(64), b"\xff" * 64, b"\1" * 63], ids=len)
def test_what_is_no_signature_is_passed_over(signature: bytes) -> None:
    nothing = [(digest(SAMPLE), signature), (digest(TEST), signature)]
    assert not proves_key(P256.public_pem, nothing).proven
    assert proves_key(P256.public_pem, nothing + signed(P256, P256_NONCE, SAMPLE, TEST)).pair == (2, 3)


def test_keys_of_other_kinds_prove_nothing() -> None:
    for private in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP521R1())):
        key = private.public_key()
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        assert proves_key(pem, signed(P256, P256_NONCE, SAMPLE, TEST)) == nonces.Proof(0, None)


def test_a_proof_holds_no_key() -> None:
    proof = proves_key(P256.public_pem, signed(P256, P256_NONCE, SAMPLE, TEST))
    assert str(P256.d) not in repr(proof)
    assert vars(proof).keys() == {"repeated", "pair"}


def test_a_process_of_its_own_proves_the_same() -> None:
    pairs = tuple(signed(P256, P256_NONCE, SAMPLE, TEST, OTHER))
    cases = [Case(P256.public_pem, pairs), Case(P384.public_pem, tuple(signed(P384, 2, SAMPLE)))]
    assert prove(cases) == [proves_key(case.public_pem, case.signatures) for case in cases]
    assert prove([]) == []


def test_nothing_but_truths_leaves_the_process_that_proves() -> None:
    """It is asked as prove() asks it, and all that it writes is read."""
    asked = '[{"key": %s, "signatures": %s}]'
    text = asked % (
        repr(P256.public_pem).replace("'", '"'),
        [[part.hex() for part in pair] for pair in signed(P256, P256_NONCE, SAMPLE, TEST)],
    )
    done = subprocess.run(
        [sys.executable, "-m", "lab.record.proving"], input=text.replace("'", '"'), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ('[{"repeated": 2, "pair": [0, 1]}]', "")


def test_the_process_that_proves_leaves_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class Library:
        @staticmethod
        def prctl(option: int, value: ctypes.c_ulong) -> int:
            asked.append((option, value.value))
            return 0

    monkeypatch.setattr(proving.ctypes, "CDLL", lambda name: Library)
    monkeypatch.setattr(proving.json, "load", lambda file: [])
    proving.main()
    assert (4, 0) in asked  # prctl(2): PR_SET_DUMPABLE, no


def test_a_case_that_cannot_be_read_is_a_fault_that_says_nothing_of_it() -> None:
    with pytest.raises(LabFault, match=r"^the process that examines repeated nonces ended with status 1$"):
        prove([Case("no key", ())])


def test_a_key_is_taken_as_it_stands_in_a_certificate() -> None:
    key = load_pem_public_key(P256.public_pem.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.public_numbers().x == 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
