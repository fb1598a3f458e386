"""The context policy that a real server amounted to, from calls that are written out."""

from __future__ import annotations

from typing import Any

import pytest

from lab.analysis.facts import TrialFacts
from lab.analysis.policy import KINDS
from lab.record.model import ProcessRecord
from tests.server_trials import HTTPD, MASTER, beside, child, forked, fresh, master, opened, server_trial, summary_of
from tests.trial_builder import ALREADY_INITIALIZED, ALREADY_LOGGED_IN, NOT_INITIALIZED, TrialBuilder, worker

SESSION_INVALID = 0xB3


def examined(builder: TrialBuilder, *processes: ProcessRecord, **fields: Any) -> TrialFacts:
    return builder.examine(server_trial(*(processes or (master(), child(2), child(3))), **fields))


def kinds(facts: TrialFacts) -> dict[int, str]:
    assert facts.server is not None
    return {process.index: process.kind for process in facts.server.processes}


def word(facts: TrialFacts) -> str:
    assert facts.server is not None
    return facts.server.word


def test_a_fork_that_initialises_at_its_first_handshake_is_re_initialised_lazily() -> None:
    builder = forked(TrialBuilder(), 2, 3)
    for index, at in ((2, 19), (3, 29)):
        builder.connection(index, "server", random=index, opened=at, ended=at + 8)
    facts = examined(builder)
    assert kinds(facts) == {1: "own", 2: "re-initialised", 3: "re-initialised"}
    assert word(facts) == "re-initialised lazily"
    found = summary_of(facts)["real_server"]
    assert found["initialized"] == {
        "with_first_handshake": 2, "before_first_handshake": 0, "before_ready": 0, "after_ready": 2,
    }  # fmt: skip


def test_a_fork_that_initialises_before_anybody_connects_is_not_lazy() -> None:
    builder = forked(TrialBuilder(), 2, 3, at=-40)
    for index in (2, 3):
        builder.connection(index, "server", random=index, opened=20, ended=25)
    facts = examined(builder)
    assert word(facts) == "re-initialised"
    assert {process.lazily for process in facts.server.processes if process.role == "worker"} == {False}  # type: ignore[union-attr]


def test_without_a_log_readiness_says_what_is_lazy() -> None:
    assert word(examined(forked(TrialBuilder(), 2, 3))) == "re-initialised lazily"
    assert word(examined(forked(TrialBuilder(), 2, 3, at=-40))) == "re-initialised"


def test_signing_without_a_context_of_ones_own_is_inherited() -> None:
    builder = opened(TrialBuilder())
    for index in (2, 3):
        builder.call("C_Initialize", index, at=10, ckr=ALREADY_INITIALIZED)
        builder.sign(index, at=20)
    facts = examined(builder)
    assert kinds(facts) == {1: "own", 2: "inherited", 3: "inherited"}
    assert word(facts) == "inherited"


def test_a_handle_used_before_the_own_initialise_is_inherited_and_closing_it_is_not() -> None:
    builder = opened(TrialBuilder())
    builder.sign(2, at=10)
    fresh(builder, 2, 20)
    builder.call("C_CloseSession", 3, at=10, session=5)
    fresh(builder, 3, 20)
    assert kinds(examined(builder)) == {1: "own", 2: "inherited", 3: "re-initialised"}


def test_being_logged_in_already_after_a_fresh_initialise_is_an_inherited_login() -> None:
    builder = opened(TrialBuilder())
    for index in (2, 3):
        builder.call("C_Initialize", index, at=20)
        builder.call("C_OpenSession", index, at=21, session=5)
        builder.call("C_Login", index, at=22, session=5, ckr=ALREADY_LOGGED_IN)
        builder.call("C_FindObjects", index, at=23, session=5, key=7, argument=1)
        builder.sign(index, at=24)
    facts = examined(builder)
    assert kinds(facts) == {1: "own", 2: "inherited-login", 3: "inherited-login"}
    assert word(facts) == "inherited login under a fresh initialise"


@pytest.mark.parametrize("logged_in", [True, False])
def test_signing_without_a_login_counts_where_an_ancestor_had_logged_in(logged_in: bool) -> None:
    builder = TrialBuilder().call("C_Initialize", MASTER, at=-90).call("C_OpenSession", MASTER, at=-89, session=5)
    if logged_in:
        builder.call("C_Login", MASTER, at=-88, session=5)
    builder.call("C_Initialize", 2, at=20).call("C_OpenSession", 2, at=21, session=5)
    builder.call("C_FindObjects", 2, at=22, session=5, key=7, argument=1).sign(2, at=23)
    assert kinds(examined(builder, master(), child(2)))[2] == ("inherited-login" if logged_in else "re-initialised")


def test_workers_of_a_master_that_did_nothing_have_contexts_of_their_own() -> None:
    facts = examined(fresh(fresh(TrialBuilder(), 2, 10), 3, 20))
    assert kinds(facts) == {1: "unused", 2: "own", 3: "own"}
    assert word(facts) == "own context per process"


@pytest.mark.parametrize("code", [NOT_INITIALIZED, SESSION_INVALID, 0x82, 0x60])
def test_a_worker_whose_inheritance_is_refused_for_good_is_refused(code: int) -> None:
    builder = opened(TrialBuilder())
    for index in (2, 3):
        builder.call("C_SignInit", index, at=20, session=5, key=7, ckr=code)
    facts = examined(builder)
    assert kinds(facts) == {1: "own", 2: "refused", 3: "refused"}
    assert word(facts) == "refused"


def test_a_worker_that_was_refused_and_then_made_a_context_is_re_initialised() -> None:
    builder = opened(TrialBuilder())
    builder.call("C_SignInit", 2, at=10, session=5, key=7, ckr=NOT_INITIALIZED)
    fresh(builder, 2, 20)
    assert kinds(examined(builder, master(), child(2)))[2] == "re-initialised"


def test_a_worker_that_initialised_but_kept_its_old_handle_is_refused() -> None:
    builder = opened(TrialBuilder()).call("C_Initialize", 2, at=20)
    builder.call("C_SignInit", 2, at=21, session=5, key=7, ckr=SESSION_INVALID)
    assert kinds(examined(builder, master(), child(2)))[2] == "refused"


def test_an_idle_worker_is_unused_and_spoils_no_word() -> None:
    builder = forked(TrialBuilder(), 2).call("C_Initialize", 3, at=10).call("C_Finalize", 3, at=11)
    facts = examined(builder, master(), child(2), child(3), child(4))
    assert kinds(facts) == {1: "own", 2: "re-initialised", 3: "unused", 4: "unused"}
    assert word(facts) == "re-initialised lazily"


def test_workers_that_differ_are_mixed() -> None:
    builder = forked(TrialBuilder(), 2).sign(3, at=20)
    assert word(examined(builder)) == "mixed"


def test_a_token_owned_by_a_process_outside_the_tree_is_a_broker() -> None:
    builder = forked(TrialBuilder(), 2, 3)
    fresh(builder, 7, 4)  # not while the server signs
    for begin in (25.1, 35.1):
        builder.call("C_Sign", 7, at=begin, until=begin + 0.2, session=5)
    facts = examined(builder, master(), child(2), child(3), beside(7))
    assert word(facts) == "broker"


def test_a_process_outside_that_signs_for_itself_is_no_broker() -> None:
    builder = fresh(forked(TrialBuilder(), 2, 3), 7, 60)
    assert word(examined(builder, master(), child(2), child(3), beside(7))) == "re-initialised lazily"


def test_a_process_outside_is_the_broker_of_a_server_without_a_tap() -> None:
    assert word(examined(fresh(TrialBuilder(), 7, 10), master(), child(2), beside(7))) == "broker"


def test_the_starter_of_a_daemon_is_no_broker_but_the_ancestor_of_its_master() -> None:
    builder = fresh(TrialBuilder(), 7, -200).sign(MASTER, at=-90).sign(2, at=20)
    facts = examined(builder, beside(7, program="apache2"), master(), child(2))
    assert kinds(facts) == {1: "inherited", 2: "inherited"}
    assert word(facts) == "inherited"


def test_a_server_without_workers_is_named_after_its_master() -> None:
    facts = examined(fresh(TrialBuilder(), MASTER, -90), master())
    assert word(facts) == "own context per process"
    assert facts.processes.started == 1
    assert facts.cold[MASTER]["total"] == pytest.approx(3.5 + 1.5)


def test_a_daemon_that_serves_by_itself_counts_and_not_its_starter() -> None:
    builder = opened(TrialBuilder(), 7, -200).sign(MASTER, at=10)
    facts = examined(builder, master(7, gone=-150), master(MASTER, parent=7))
    assert kinds(facts) == {1: "inherited", 7: "own"}
    assert word(facts) == "inherited"


def test_a_server_that_nobody_called_is_unused() -> None:
    facts = examined(TrialBuilder())
    assert word(facts) == "unused"
    assert facts.diagnosis == {}


def test_a_family_that_turns_in_a_circle_and_unknown_pids_end_nothing() -> None:
    builder = forked(TrialBuilder(), 2, 3)
    facts = examined(builder, master(parent=2), child(2, parent=1), child(3, parent=3), child(4, pid=0))
    assert facts.server is not None
    assert not facts.invalid_because or all("judged" not in reason for reason in facts.invalid_because)


def test_the_summary_tells_what_the_processes_were_and_what_it_cost() -> None:
    facts = examined(forked(TrialBuilder(), 2, 3))
    arm = summary_of(facts, facts)
    found = arm["real_server"]
    assert arm["context"] == found["policy"] == "re-initialised lazily"
    assert (found["name"], found["version"]) == ("httpd", "Apache/2.4.62 (Debian)")
    assert found["processes"]["master"] == dict.fromkeys(KINDS, 0) | {"own": 2}
    assert found["processes"]["workers"] == dict.fromkeys(KINDS, 0) | {"re-initialised": 4}
    assert (found["contexts"], found["logins"]) == (6, 6)
    assert found["sessions"] == {"opened": {"median": 1, "max": 1}, "peak": {"median": 1, "max": 1}}
    assert found["ready_ms"] == 100
    assert (found["restart"], found["kill"]) == (None, None)
    listed = found["per_process"][1]
    assert (listed["trial"], listed["process"], listed["role"], listed["policy"]) == (1, 2, "worker", "re-initialised")
    assert (listed["calls"], listed["logins"]) == (6, 1)


def test_trials_that_amounted_to_different_policies_are_mixed() -> None:
    lazily = examined(forked(TrialBuilder(), 2, 3))
    shared = examined(opened(TrialBuilder()).sign(2, at=20))
    assert summary_of(lazily, shared)["real_server"]["policy"] == "mixed"
    assert summary_of(lazily, examined(TrialBuilder()))["real_server"]["policy"] == "re-initialised lazily"


def test_an_arm_of_the_labs_own_server_has_none() -> None:
    from tests.handshake_trials import ARM, trial

    arm = summary_of(trial(), arm=ARM)
    assert arm["real_server"] is None
    assert arm["context"] == "per-process"


def test_cold_starts_of_workers_come_from_their_calls() -> None:
    builder = forked(TrialBuilder(), 2, 3).handshake(1, at=100, server=2, signs=False)
    facts = examined(builder, planned=1)
    assert set(facts.cold) == {2, 3}
    steps = facts.cold[2]
    assert {name: steps[name] for name in ("initialize", "open_session", "login", "find_key")} == dict.fromkeys(
        ("initialize", "open_session", "login", "find_key"), 0.5
    )
    assert steps["first_operation"] == 1.5
    assert steps["total"] == 5.0
    assert summary_of(facts)["cold_ms"]["initialize"] == 0.5


def test_workers_whose_end_nobody_saw_are_no_failures_and_a_crash_is_one() -> None:
    facts = examined(forked(TrialBuilder(), 2, 3))
    assert (facts.processes.workers, facts.processes.failed, facts.processes.crashed) == (2, 0, 0)
    assert not facts.failures
    builder = forked(TrialBuilder(), 2, 3)
    facts = examined(builder, master(), child(2, end="signal", status=11), child(3))
    assert (facts.processes.failed, facts.processes.crashed) == (1, 1)
    assert [failure.code for failure in facts.failures] == ["SIGSEGV"]


def test_a_worker_that_the_scenario_had_killed_is_no_crash() -> None:
    builder = forked(TrialBuilder(), 2, 3)
    processes = (master(), child(2, end="signal", status=9), child(3))
    facts = examined(builder, *processes, server={"kill_ns": 100.0, "killed": 2})
    assert (facts.processes.failed, facts.processes.crashed) == (0, 0)
    assert not facts.failures
    assert facts.rules["no-crash"].count == 0
    assert examined(builder, *processes).rules["no-crash"].count == 1


def test_handshakes_join_although_no_worker_is_recorded() -> None:
    builder = TrialBuilder().handshake(1, server=MASTER, client=9)
    facts = examined(builder, master(), planned=1)
    assert facts.handshakes is not None
    assert (facts.handshakes.server, facts.handshakes.joined) == (True, 1)
    assert not facts.invalid_because


def test_threads_may_be_the_servers_own_business() -> None:
    assert summary_of(examined(forked(TrialBuilder(), 2)), arm=HTTPD)["topology"]["threads"] == 1


def test_the_owner_of_a_brokers_token_is_nobodys_ancestor() -> None:
    builder = fresh(opened(TrialBuilder(), 7, -300), MASTER, -90)
    assert kinds(examined(builder, beside(7), master())) == {1: "own"}


def test_a_daemon_that_is_recorded_before_its_starter_is_the_master_all_the_same() -> None:
    builder = opened(TrialBuilder(), 7, -200).sign(MASTER, at=10)
    facts = examined(builder, master(MASTER, parent=7), master(7, gone=-150))
    assert word(facts) == "inherited"


def test_a_daemon_that_the_trial_root_adopted_is_its_starters_child() -> None:
    builder = opened(TrialBuilder(), 7, -200).sign(MASTER, at=-90)
    fresh(builder, 2, 20)
    root = worker(0, role="root")
    facts = examined(builder, root, beside(7, program="apache2"), master(parent=0), child(2, parent=0))
    assert kinds(facts) == {1: "inherited", 2: "re-initialised"}
    assert "its parent, process 7" in facts.diagnosis["context-of-an-ancestor"].evidence
