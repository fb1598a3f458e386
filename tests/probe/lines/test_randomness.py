from __future__ import annotations

import pytest

from lab.probe.repeats import PROOF
from lab.probe.seen import Seen
from tests.probe.made_up import call, calls, died, hung, judge, random, signature

NOT_INITIALIZED, GENERAL_ERROR, NO_RNG = 0x190, 0x5, 0x121


def test_random_numbers_that_differ_conform() -> None:
    outputs = tuple(random(who, who[-1:].encode()) for who in ("child 1", "child 2", "parent"))

    found = judge("random-over-children", Seen(outputs=outputs, facts={"children": 2}))

    assert found.verdict == "conforms"
    assert found.seen == "2 of 2 children drew random numbers; none has what another one or its parent has."


def test_random_numbers_of_two_children_that_are_equal_violate() -> None:
    outputs = (random("child 1", b"a"), random("child 2", b"b"), random("child 3", b"a"))

    found = judge("random-after-initialize", Seen(outputs=outputs))

    assert found.verdict == "violates"
    assert "the same 16 bytes to child 1 and child 3; 2 of 3 children affected." in found.seen


def test_a_child_that_draws_what_its_parent_draws_next_is_affected() -> None:
    outputs = (random("parent", b"x"), random("child 1", b"a"), random("child 2", b"b"), random("parent", b"b"))

    found = judge("random-over-children", Seen(outputs=outputs))

    assert found.verdict == "violates"
    assert "1 of 2 children affected; the parent's own is among the repeated ones." in found.seen


def test_one_thread_that_is_given_the_same_twice_violates() -> None:
    outputs = (random("thread 1", b"a"), random("thread 1", b"a"), random("thread 2", b"b"))

    assert "thread 1, twice; 1 of 2 threads" in judge("random-over-threads", Seen(outputs=outputs)).seen


def test_children_that_are_all_refused_as_the_standard_would_have_it_conform() -> None:
    refused = [
        *calls("child", "C_GenerateRandom", [NOT_INITIALIZED] * 2),
        *calls("child", "C_SignInit", [NOT_INITIALIZED] * 2),
    ]
    seen = Seen(calls=tuple(refused))

    for line in ("random-over-children", "nonces-over-children"):
        found = judge(line, seen)
        assert found.verdict == "conforms"
        assert "2 of 2 children were refused: C_GenerateRandom CKR_CRYPTOKI_NOT_INITIALIZED (2)" in found.seen


def test_children_that_are_refused_otherwise_show_nothing() -> None:
    seen = Seen(calls=tuple(calls("child", "C_GenerateRandom", [GENERAL_ERROR, None])), ends=(hung("child 2", 2),))

    found = judge("random-over-children", seen)

    assert found.verdict == "not-exercised"
    assert found.seen == "C_GenerateRandom CKR_GENERAL_ERROR (1). Child 2 hung in C_GenerateRandom."


def test_a_single_child_that_signed_shows_nothing() -> None:
    seen = Seen(calls=tuple(calls("child", "C_Sign", [0, GENERAL_ERROR])), outputs=(signature("child 1", b"r", b"1"),))

    found = judge("nonces-over-children", seen)

    assert found.verdict == "not-exercised"
    assert "Only child 1 was given any. The others: C_Sign CKR_GENERAL_ERROR (1)." in found.seen


def test_threads_without_a_generator_show_nothing() -> None:
    facts = {f"answers of thread {n}": {"C_GenerateRandom CKR_RANDOM_NO_RNG": 3} for n in (1, 2)}

    found = judge("random-over-threads", Seen(calls=tuple(calls("thread", "C_Sign", [NO_RNG, NO_RNG])), facts=facts))

    assert found.verdict == "not-exercised"
    assert found.seen == "C_GenerateRandom CKR_RANDOM_NO_RNG (6)."


def test_threads_of_a_process_whose_own_draw_was_refused_show_nothing() -> None:
    made = (call("process", "C_GenerateRandom", NO_RNG), *calls("thread", "C_Sign", [0, 0]))

    found = judge("random-over-threads", Seen(calls=made, facts={"answers of thread 1": {"C_Sign CKR_OK": 3}}))

    assert (found.verdict, found.seen) == ("not-exercised", "Process: C_GenerateRandom answered CKR_RANDOM_NO_RNG.")


def test_a_computed_key_is_said_in_plain_words() -> None:
    outputs = tuple(signature(f"child {n}", b"r", b"%d" % n) for n in (3, 7))

    found = judge("nonces-over-children", Seen(outputs=outputs, facts={PROOF: ["child 3", "child 7"], "family": "ec"}))

    assert found.verdict == "violates"
    assert found.seen == (
        "The private key was computed from the signatures of child 3 and child 7; 2 of 2 children affected."
    )


def test_a_repeated_r_without_a_key_is_told_apart() -> None:
    outputs = tuple(signature(f"thread {n}", b"r", b"%d" % n) for n in (1, 2))

    found = judge("nonces-over-threads", Seen(outputs=outputs))

    assert found.verdict == "violates"
    assert "no private key could be computed; 2 of 2 threads affected" in found.seen


@pytest.mark.parametrize("same_data", [True, False])
def test_what_is_no_repeated_nonce(same_data: bool) -> None:
    """Equal data give equal signatures under RFC 6979; and a wrong signature has no nonce."""
    if same_data:
        outputs = tuple(signature(f"child {n}", b"r", b"1") for n in (1, 2))
    else:
        outputs = (
            signature("child 1", b"r", b"1"), signature("child 2", b"s", b"2"), signature("child 3", b"r", b"3", False)
        )  # fmt: skip

    assert judge("nonces-after-initialize", Seen(outputs=outputs)).verdict == "conforms"


def test_rsa_has_no_nonces() -> None:
    found = judge("nonces-over-children", Seen(outputs=(signature("child 1", b"r", b"1"),), facts={"family": "rsa"}))

    assert (found.verdict, "no nonce" in found.seen) == ("not-exercised", True)


def test_a_parent_that_was_not_ready_is_told() -> None:
    found = judge("random-over-children", Seen(calls=(call("parent", "C_Login", 0xA4),)))

    assert (found.verdict, found.seen) == ("not-exercised", "Parent: C_Login answered CKR_PIN_LOCKED.")


def test_a_crash_beside_repeats_is_told_too() -> None:
    outputs = (random("child 1", b"a"), random("child 2", b"a"))
    made = (call("child 3", "C_GenerateRandom", None, 3),)

    found = judge("random-over-children", Seen(calls=made, ends=(died("child 3", pid=3),), outputs=outputs))

    assert found.verdict == "violates"
    assert found.seen.endswith("Child 3 died of SIGSEGV in C_GenerateRandom.")
