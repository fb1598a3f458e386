"""A trial whose token a program owns: what is its share, what is counted once, and what no owner excuses."""

from __future__ import annotations

from typing import Any

import pytest

from lab.analysis.facts import TrialFacts
from lab.analysis.rules.finding import judged
from lab.record.model import OwnerRecord, ProcessRecord, TrialRecord
from tests.trial_builder import ALREADY_LOGGED_IN, TrialBuilder, record, worker

OWNER, CHILD = 7, 8


def owner(index: int = OWNER, **fields: Any) -> ProcessRecord:
    return worker(index, **{"role": "other", "pss_kib": None, **fields})


def owned(*processes: ProcessRecord, end: str = "exit", status: int = 0) -> TrialRecord:
    owners = (OwnerRecord("broker", 1000 + OWNER, 3072, end, status, end == "exit"),)  # type: ignore[arg-type]
    return record(*(processes or (worker(1), worker(2), owner(end=end, status=status))), owners=owners)


def client(builder: TrialBuilder, process: int, session: int = 5, login: int = 0) -> TrialBuilder:
    builder.call("C_Initialize", process).call("C_OpenSession", process, session=session)
    builder.call("C_Login", process, session=session, ckr=login)
    return builder.call("C_FindObjects", process, session=session, key=7, argument=1)


def brokered() -> TrialBuilder:
    """Two clients of one owner, which sign once each."""
    builder = TrialBuilder().call("C_Initialize", OWNER)
    for process, login in ((1, 0), (2, ALREADY_LOGGED_IN)):
        client(builder, process, login=login)
        builder.call("C_OpenSession", OWNER, session=process)
        builder.call("C_Login", OWNER, session=process, ckr=login)
        builder.call("C_FindObjects", OWNER, session=process, key=7, argument=1)
    for process, tag in ((1, 11), (2, 12)):
        builder.sign(process, tag=tag, data=tag).sign(OWNER, session=process, tag=tag, data=tag)
    for process in (1, 2):
        builder.end(process).call("C_CloseSession", OWNER, session=process)
    return builder.call("C_Finalize", OWNER)


def verdict(facts: TrialFacts, rule: str) -> str:
    return str(judged([(1, facts.rules[rule])])["verdict"])


def test_the_share_of_an_owner_is_told_apart_and_counted_once() -> None:
    facts = brokered().examine(owned())
    at_token = facts.at_token
    assert at_token is not None
    assert (at_token.owner, at_token.processes, at_token.contexts, at_token.logins) == ("broker", 1, 1, 1)
    assert (at_token.calls, at_token.sessions_peak) == (14, 2)
    assert (at_token.owner_pss_mib, at_token.all_pss_mib) == (3.0, 7.0)
    assert at_token.durations["C_Sign"].total == facts.calls["C_Sign"].total == 2
    assert facts.sessions.opened == 2


def test_without_an_owner_the_workers_have_the_token() -> None:
    facts = TrialBuilder().begin(1).begin(2).end(1).end(2).examine(record(worker(1), worker(2)))
    assert facts.at_token is not None
    assert (facts.at_token.owner, facts.at_token.processes, facts.at_token.contexts) == (None, 2, 2)
    assert (facts.at_token.owner_pss_mib, facts.at_token.all_pss_mib) == (None, 4.0)
    assert facts.at_token.durations == {}


def test_what_an_owner_started_is_of_the_owner() -> None:
    child = owner(CHILD, pid=4000, parent=1000 + OWNER)
    stranger = owner(9, pid=5000, parent=1)
    assert owned(worker(1), owner(), child, stranger).owning == {OWNER, CHILD}


def test_no_rule_is_broken_by_the_design_and_the_login_is_left_open() -> None:
    facts = brokered().examine(owned())
    assert [rule for rule in facts.rules if verdict(facts, rule) == "violates"] == []
    assert verdict(facts, "login-per-process") == "undefined"
    assert verdict(facts, "unique-randomness") == "conforms"
    assert not any(finding.count for finding in facts.diagnosis.values())


def test_a_client_that_is_logged_in_although_the_owner_never_was_breaks_the_rule() -> None:
    builder = client(TrialBuilder().call("C_Initialize", OWNER), 1, login=ALREADY_LOGGED_IN)
    assert verdict(builder.examine(owned()), "login-per-process") == "violates"


def test_an_owner_that_was_logged_in_without_having_logged_in_breaks_the_rule() -> None:
    builder = client(TrialBuilder().call("C_Initialize", OWNER).call("C_OpenSession", OWNER, session=1), 1)
    builder.call("C_Login", OWNER, session=1, ckr=ALREADY_LOGGED_IN).call("C_Login", OWNER, session=1)
    facts = builder.examine(owned())
    assert verdict(facts, "login-per-process") == "violates"
    assert f"process {OWNER}" in facts.rules["login-per-process"].evidence


@pytest.mark.parametrize(("at_owner", "at_clients"), [(True, True), (True, False), (False, True)])
def test_a_repeated_random_output_is_found_on_either_side(at_owner: bool, at_clients: bool) -> None:
    builder = brokered()
    for process, place in ((1, 0), (2, 1)):
        builder.call("C_GenerateRandom", process, argument=32, tag=70 + place * (not at_clients))
        builder.call("C_GenerateRandom", OWNER, argument=32, tag=70 + place * (not at_owner))
    assert verdict(builder.examine(owned()), "unique-randomness") == "violates"


def test_outputs_that_the_owner_handed_on_are_no_repetition() -> None:
    builder = brokered()
    for process, tag in ((1, 70), (2, 71)):
        builder.call("C_GenerateRandom", process, argument=32, tag=tag)
        builder.call("C_GenerateRandom", OWNER, argument=32, tag=tag)
    assert verdict(builder.examine(owned()), "unique-randomness") == "conforms"


def test_an_owner_that_crashed_is_a_crash() -> None:
    facts = brokered().examine(owned(worker(1), worker(2), owner(end="signal", status=11), end="signal", status=11))
    assert verdict(facts, "no-crash") == "violates"
    assert facts.processes.crashed == 1
    assert [(failure.layer, failure.code) for failure in facts.failures] == [("signal", "SIGSEGV")]


def test_sessions_that_an_owner_leaves_open_are_found() -> None:
    builder = brokered().call("C_Initialize", OWNER).call("C_OpenSession", OWNER, session=9)
    assert verdict(builder.examine(owned()), "sessions-closed") == "violates"
