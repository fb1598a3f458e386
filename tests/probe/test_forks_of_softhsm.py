"""The lines about forks on a real SoftHSM, which by default lets a child use all that it inherited, or does not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab.probe.line import Verdict
from lab.probe.lines import LINES
from lab.probe.seen import Seen
from lab.tokens.softhsm import SoftHsm
from tests.probe.conftest import KEY, Table, bed_of, examined
from tests.tokens.conftest import Settings

SHARES: dict[str, Verdict] = {
    "child-without-initialize": "undefined",
    "parent-after-uses": "conforms",
    "child-initialize": "violates",
    "child-login-state": "violates",
    "child-old-handles": "violates",
    "child-session-objects": "violates",
    "parent-after-child-finalize": "conforms",
    "parent-after-initialize-finalize": "conforms",
    "parent-after-child-exit": "conforms",
    "parent-after-child-crash": "conforms",
    "child-works-beside": "undefined",  # it works in its parent's context
    "child-reload": "conforms",
    "grandchild": "violates",
    "grandchild-of-initialized": "violates",
    "operation-in-both": "undefined",
    "shared-descriptors": "conforms",
    "survives": "conforms",
}
RESETS: dict[str, Verdict] = dict.fromkeys(SHARES, "conforms")
BUSY = "fork-while-busy"
"""Depends on who holds which of SoftHSM's mutexes at the fork: some children hang, with reset_on_fork too."""


def _table(reset_on_fork: bool, factory: pytest.TempPathFactory) -> Iterator[tuple[Table, dict[str, Seen]]]:
    token = SoftHsm(Settings(reset_on_fork=reset_on_fork))
    made = token.prepare(frozenset({KEY}), factory.mktemp("golden") / "token")
    yield examined(bed_of(token, made), factory.mktemp("stages"))
    token.retire()


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Table, dict[str, Seen]]]:
    yield from _table(False, tmp_path_factory)


@pytest.fixture(scope="module")
def resets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Table, dict[str, Seen]]]:
    yield from _table(True, tmp_path_factory)


def _verdicts(table: Table) -> dict[str, Verdict]:
    return {name: one.verdict for name, one in table.items() if name != BUSY}


def test_every_line_has_its_verdict_where_a_child_shares_all(shares: tuple[Table, dict[str, Seen]]) -> None:
    assert _verdicts(shares[0]) == SHARES


def test_every_line_conforms_where_a_child_forgets_all(resets: tuple[Table, dict[str, Seen]]) -> None:
    assert _verdicts(resets[0]) == RESETS


def test_all_lines_about_forks_are_here() -> None:
    assert {line.name for line in LINES if line.group == "fork"} == {*SHARES, BUSY}


def test_children_of_a_busy_parent_are_counted(shares: tuple[Table, dict[str, Seen]]) -> None:
    line, seen = shares[0][BUSY], shares[1]["busy-forks"]

    assert "of 6 children worked" in line.seen
    assert {end.who for end in seen.ends} == {f"child {number}" for number in range(6)}
    hung = [end for end in seen.ends if end.how == "hang"]
    assert line.verdict == ("undefined" if hung else "conforms")
    assert all("pthread_mutex_lock" in end.stack for end in hung if end.stack)


def test_what_was_seen_names_calls_answers_and_processes(shares: tuple[Table, dict[str, Seen]]) -> None:
    seen = shares[0]["child-without-initialize"].seen

    assert "C_Login: CKR_USER_ALREADY_LOGGED_IN" in seen
    assert "C_Sign" in seen
    assert "In a child" in seen


def test_each_signature_was_checked(resets: tuple[Table, dict[str, Seen]]) -> None:
    outputs = [output for seen in resets[1].values() for output in seen.outputs if output.data]

    assert len(outputs) > 20
    assert all(output.right for output in outputs)


def test_no_signature_and_no_random_number_is_reported(shares: tuple[Table, dict[str, Seen]]) -> None:
    reported = json.dumps([seen.to_json() for seen in shares[1].values()])
    outputs = [output.value for seen in shares[1].values() for output in seen.outputs]

    assert outputs
    assert not [value for value in outputs if value.hex() in reported or value[: len(value) // 2].hex() in reported]


def test_each_end_of_a_child_was_as_it_should_be(resets: tuple[Table, dict[str, Seen]]) -> None:
    ends = {end.who: end.words for end in resets[1]["child-ends"].ends if end.who.startswith("child")}

    assert ends["child (SIGSEGV)"] == "died of SIGSEGV"
    assert ends["child (SIGKILL)"] == "died of SIGKILL"
    assert ends["child (exit)"] == "exited with 0"


def test_a_child_was_killed_amid_a_signature(resets: tuple[Table, dict[str, Seen]]) -> None:
    (signing,) = resets[1]["child-ends"].of("child (SIGKILL)", "C_Sign")

    assert signing.ckr is None
