"""What is found of NSS 3.87, which repeats its random numbers in children that have no context of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.tokens.nss import Nss
from tests.probe.stages import Found, probing
from tests.tokens.conftest import Settings

CHILDREN = 4
LINES = (
    "random-over-children",
    "nonces-over-children",
    "nonces-after-initialize",
    "nonces-after-finalize",
    "session-count",
    "versions",
    "fork-safe-as-claimed",
)


@pytest.fixture(scope="module")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    token = Nss(Settings("nss"))
    try:
        with probing(tmp_path_factory.mktemp("probing"), token) as bench:
            yield bench.lines(*LINES, children=CHILDREN)
    finally:
        token.retire()


def test_the_private_key_is_computed_from_signatures_of_children(nss: Found) -> None:
    lines, seen = nss

    assert lines["nonces-over-children"].verdict == "violates"
    assert lines["nonces-over-children"].seen == (
        "The private key was computed from the signatures of child 1 and child 2; "
        f"{CHILDREN} of {CHILDREN} children affected, and the parent."
    )
    assert lines["random-over-children"].verdict == "violates"
    assert f"{CHILDREN} of {CHILDREN} children affected" in lines["random-over-children"].seen
    assert {one.right for one in seen["draws-without-initialize"].outputs if one.data} == {True}


def test_a_child_that_is_told_that_it_has_initialised_repeats_nonces_all_the_same(nss: Found) -> None:
    found = nss[0]["nonces-after-initialize"]

    assert found.verdict == "violates"
    assert found.seen.startswith("The private key was computed from the signatures of child 1 and child 2;")
    assert found.seen.endswith(f"C_Initialize: CKR_CRYPTOKI_ALREADY_INITIALIZED ({CHILDREN}).")


def test_a_context_of_its_own_saves_a_child(nss: Found) -> None:
    assert nss[0]["nonces-after-finalize"].verdict == "conforms"


def test_all_its_interfaces_claim_to_be_fork_safe_and_are_not(nss: Found) -> None:
    found = nss[0]["fork-safe-as-claimed"]

    assert found.verdict == "violates"
    assert "PKCS 11 3.0 and PKCS 11 2.40 and " in found.seen
    assert "claim CKF_INTERFACE_FORK_SAFE, but children repeat each other's nonces." in found.seen


def test_its_sessions_are_counted(nss: Found) -> None:
    assert (
        nss[0]["session-count"].seen
        == "ulSessionCount: 0 with 0 open, 16 with 16 open, 15 with 15 open, 0 with 0 open."
    )
    assert nss[0]["session-count"].verdict == nss[0]["versions"].verdict == "conforms"
