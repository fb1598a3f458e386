from __future__ import annotations

import hashlib

import pytest

from lab.probe.repeats import PROOF, with_proof
from lab.probe.seen import Output, Seen
from tests.textbook import Key

KEY = Key("ec-p256", 0x6C0FFEE)


def made(who: str, data: str, nonce: int, right: bool = True) -> Output:
    digest = hashlib.sha256(data.encode()).digest()
    return Output(who, KEY.sign(digest, nonce), digest, right)


def test_the_two_whose_signatures_gave_the_key_away_are_named() -> None:
    outputs = (made("parent", "a", 11), made("child 1", "b", 12), made("child 2", "c", 12), made("child 3", "d", 12))

    seen = with_proof(Seen(outputs=outputs, public_pem=KEY.public_pem))

    assert seen.facts == {PROOF: ["child 1", "child 2"]}


def test_two_processes_are_named_rather_than_one() -> None:
    outputs = (made("child 1", "a", 12), made("child 1", "b", 12), made("child 2", "c", 12))

    seen = with_proof(Seen(outputs=outputs, public_pem=KEY.public_pem))

    assert seen.facts == {PROOF: ["child 1", "child 2"]}


def test_children_are_named_rather_than_their_parent() -> None:
    outputs = (made("parent", "a", 12), made("child 1", "b", 12), made("child 2", "c", 12))

    seen = with_proof(Seen(outputs=outputs, public_pem=KEY.public_pem))

    assert seen.facts == {PROOF: ["child 1", "child 2"]}


def test_the_key_is_nowhere_in_what_was_seen() -> None:
    seen = with_proof(Seen(outputs=(made("child 1", "a", 12), made("child 2", "b", 12)), public_pem=KEY.public_pem))

    assert f"{KEY.d:x}" not in repr(seen).lower()
    assert str(KEY.d) not in repr(seen)


@pytest.mark.parametrize(
    "outputs",
    [
        (made("child 1", "a", 12), made("child 2", "b", 13)),
        (made("child 1", "a", 12), made("child 2", "a", 12)),  # as RFC 6979 would
        (made("child 1", "a", 12), made("child 2", "b", 12, right=False)),
        (),
    ],
)
def test_nothing_is_proven_where_no_nonce_repeats(outputs: tuple[Output, ...]) -> None:
    seen = Seen(outputs=outputs, public_pem=KEY.public_pem)

    assert with_proof(seen) is seen


def test_another_key_than_the_signatures_one_is_not_proven() -> None:
    outputs = (made("child 1", "a", 12), made("child 2", "b", 12))

    assert PROOF not in with_proof(Seen(outputs=outputs, public_pem=Key("ec-p256", 5).public_pem)).facts
