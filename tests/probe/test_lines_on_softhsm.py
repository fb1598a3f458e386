"""What the lines on threads, sessions, random numbers and claims say of SoftHSM 2.6."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.probe.lines import LINES
from lab.tokens.softhsm import SoftHsm
from tests.probe.stages import Found, probing
from tests.tokens.conftest import Settings

CHILDREN = 6
NAMES = [line.name for line in LINES if line.group != "fork"]
RACES = {"initialize-in-threads", "initialize-in-processes", "login-in-processes", "shared-session"}
"""SoftHSM loses them now and then: two CKR_OK, CKR_GENERAL_ERROR, SIGSEGV."""

EXPECTED = {
    "random-over-children": "conforms",
    "random-after-initialize": "conforms",
    "random-after-finalize": "conforms",
    "random-over-threads": "conforms",
    "nonces-over-children": "conforms",
    "nonces-after-initialize": "conforms",
    "nonces-after-finalize": "conforms",
    "nonces-over-threads": "conforms",
    "login-in-threads": "conforms",
    "threads-with-locking": "conforms",
    "threads-without-locking": "undefined",
    "session-limit": "not-exercised",  # it has none
    "session-limit-claimed": "conforms",
    "session-count": "not-exercised",  # it does not tell
    "close-all-sessions": "conforms",
    "sessions-after-death": "conforms",
    "versions": "conforms",
    "random-as-claimed": "conforms",
    "login-as-claimed": "conforms",
    "mechanism-as-claimed": "conforms",
    "fork-safe-as-claimed": "not-exercised",
}


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    with probing(tmp_path_factory.mktemp("probing")) as bench:
        yield bench.lines(*NAMES, children=CHILDREN)


@pytest.fixture(scope="module")
def resetting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    names = ("random-over-children", "nonces-over-children", "random-after-initialize")
    with probing(tmp_path_factory.mktemp("probing"), SoftHsm(Settings(reset_on_fork=True))) as bench:
        yield bench.lines(*names, children=CHILDREN)


def test_each_line_has_its_verdict(softhsm: Found) -> None:
    lines, _ = softhsm

    assert {name: lines[name].verdict for name in EXPECTED} == EXPECTED
    assert set(EXPECTED) | RACES == set(lines)


def test_races_are_exercised_whoever_wins(softhsm: Found) -> None:
    lines, _ = softhsm

    assert lines["initialize-in-threads"].verdict in ("conforms", "undefined")
    assert lines["initialize-in-processes"].verdict in ("conforms", "violates")
    assert lines["login-in-processes"].verdict in ("conforms", "violates")
    assert lines["shared-session"].verdict in ("conforms", "undefined")


def test_all_children_drew_and_signed_both_ways(softhsm: Found) -> None:
    lines, seen = softhsm

    for stage in ("draws-without-initialize", "draws-after-initialize", "draws-after-finalize"):
        makers = [(one.who, bool(one.data)) for one in seen[stage].outputs]
        for number in range(1, CHILDREN + 1):
            assert {(f"child {number}", True), (f"child {number}", False)} <= set(makers)
        assert makers.count(("parent", True)) == 2  # before the forks, and after them
    assert f"{CHILDREN} of {CHILDREN} children" in lines["nonces-after-initialize"].seen


def test_every_signature_was_looked_at(softhsm: Found) -> None:
    _, seen = softhsm

    signatures = [one for stage in seen.values() for one in stage.outputs if one.data]
    assert len(signatures) > 4 * CHILDREN  # and those of threads, and of processes
    assert {one.right for one in signatures} == {True}


def test_no_stage_was_cut_off_and_every_process_was_waited_for(softhsm: Found) -> None:
    _, seen = softhsm

    assert {stage.cut_off for stage in seen.values()} == {""}
    born = {call.pid for stage in seen.values() for call in stage.calls if call.who.startswith(("child", "process"))}
    assert born <= {end.pid for stage in seen.values() for end in stage.ends}


def test_children_of_a_softhsm_that_resets_on_fork_are_refused(resetting: Found) -> None:
    lines, _ = resetting

    assert {line.verdict for line in lines.values()} == {"conforms"}
    refused = f"{CHILDREN} of {CHILDREN} children were refused: C_GenerateRandom CKR_CRYPTOKI_NOT_INITIALIZED"
    assert refused in lines["random-over-children"].seen
    assert "children drew random numbers" in lines["random-after-initialize"].seen
