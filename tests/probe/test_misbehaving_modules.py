"""What lines on threads, sessions and random numbers say of modules that crash, hang, lie or repeat themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.probe.examination import Examined
from tests.native.build import TESTS, compile_c
from tests.probe.stages import Probing, probing


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probing]:
    with probing(tmp_path_factory.mktemp("probing")) as made:
        yield made


@pytest.fixture
def misbehaving(bench: Probing, mischief_module: Path) -> Any:
    """Examines one line while the module does something at a call."""

    def examined(what: str, line: str, **bed: Any) -> Examined:
        token = bench.behind(mischief_module, "MISCHIEF_MODULE", MISCHIEF=what)
        return bench.lines(line, token=token, **bed)[0][line]

    return examined


def test_a_nonce_that_repeats_is_proven_by_computing_the_key(bench: Probing, tmp_path: Path) -> None:
    module = compile_c(tmp_path / "nonce.so", TESTS / "repeat_nonce.c", libraries=("crypto",))
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    token = bench.behind(module, "NONCE_MODULE", NONCE_KEY=str(tmp_path / "key.pem"))
    names = ("nonces-over-children", "nonces-after-initialize", "nonces-over-threads", "random-over-children")

    lines, _ = bench.lines(*names, token=token, public_pem=public, children=3)

    for name in names[:2]:
        assert lines[name].verdict == "violates"
        assert lines[name].seen.startswith(
            "The private key was computed from the signatures of child 1 and child 2; "
            "3 of 3 children affected, and the parent."
        )
    assert "of 8 threads affected" in lines["nonces-over-threads"].seen
    assert "The private key was computed" in lines["nonces-over-threads"].seen
    assert lines["random-over-children"].verdict == "conforms"


def test_a_crash_of_a_thread_is_told_with_its_call(misbehaving: Any) -> None:
    found = misbehaving("sigsegv@C_Sign#20", "threads-with-locking")

    assert found.verdict == "violates"
    assert found.seen.startswith("Process died of SIGSEGV in C_Sign.")


def test_what_threads_sign_is_verified(misbehaving: Any) -> None:
    found = misbehaving("wrong-signature@C_Sign#7", "threads-with-locking")

    assert found.verdict == "violates"
    assert found.seen.startswith("1 of ")
    assert " signatures are wrong. 8 threads: " in found.seen


def test_a_hang_in_one_of_many_processes_ends_with_its_stage(misbehaving: Any) -> None:
    found = misbehaving("hang@C_Initialize#1", "initialize-in-processes", most_sessions=3, patience_s=1.0)

    assert found.verdict == "violates"
    assert found.seen.startswith("C_Initialize in 3 processes at once: no answer (3). Process 1 hung in C_Initialize")


def test_an_error_in_one_thread_of_a_race_is_told(misbehaving: Any) -> None:
    found = misbehaving("error@C_Login#3", "login-in-threads")

    assert found.verdict == "violates"
    assert "CKR_DEVICE_ERROR (1)" in found.seen


def test_the_right_pin_is_tried_no_more_once_it_was_refused(bench: Probing, mischief_module: Path) -> None:
    token = bench.behind(mischief_module, "MISCHIEF_MODULE", MISCHIEF="refuse-pin@C_Login#1+", MISCHIEF_WHO="child")
    names = ("random-after-finalize", "random-over-threads", "versions")

    lines, seen = bench.lines(*names, token=token, children=9, may_create=False)

    logins = [call for one in seen.values() for call in one.calls if call.name == "C_Login"]
    assert [call.who for call in logins] == ["parent", "child 1"]
    assert set(seen) == {"draws-after-finalize"}
    assert {lines[name].verdict for name in names} == {"not-exercised"}
    assert lines["versions"].seen == (
        "C_Login answered CKR_PIN_INCORRECT (child 1), to the right PIN. "
        "A token that is not the lab's own may lock: it was tried no more."
    )


def test_a_token_of_the_labs_own_is_examined_to_the_end(bench: Probing, mischief_module: Path) -> None:
    token = bench.behind(mischief_module, "MISCHIEF_MODULE", MISCHIEF="refuse-pin@C_Login#1+", MISCHIEF_WHO="child")

    lines, seen = bench.lines("random-after-finalize", "versions", token=token, children=3)

    assert len([call for call in seen["draws-after-finalize"].calls if call.name == "C_Login"]) == 4
    assert lines["versions"].verdict == "conforms"


def test_sessions_are_refused_with_the_wrong_answer(misbehaving: Any) -> None:
    found = misbehaving("error@C_OpenSession#6+", "session-limit")

    assert (found.verdict, found.seen) == ("violates", "After 5 sessions C_OpenSession answered CKR_DEVICE_ERROR.")


def test_a_generator_that_is_claimed_and_does_not_work_violates(misbehaving: Any) -> None:
    found = misbehaving("error@C_GenerateRandom#1+", "random-as-claimed")

    assert found.verdict == "violates"
    assert "CKF_RNG is set; C_GenerateRandom answered CKR_DEVICE_ERROR" in found.seen


def test_a_crash_before_the_threads_leaves_the_line_not_exercised(misbehaving: Any) -> None:
    found = misbehaving("sigsegv@C_FindObjects#1", "shared-session")

    assert found.verdict == "not-exercised"
    assert found.seen == "It was not reached: process died of SIGSEGV in C_FindObjects."
