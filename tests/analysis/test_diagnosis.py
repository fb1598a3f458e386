"""Each named cause from calls that show it, and none from calls that look alike and do not."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from lab.analysis import diagnosis
from lab.analysis.calls import Origin
from lab.analysis.diagnosis import CAUSES
from lab.analysis.facts import TrialFacts
from lab.analysis.rules.finding import Finding
from lab.record.model import ProcessRecord
from tests.handshake_trials import ARM
from tests.server_trials import MASTER, beside, child, forked, fresh, master, opened, server_trial, summary_of
from tests.trial_builder import ALREADY_INITIALIZED, ALREADY_LOGGED_IN, NOT_INITIALIZED, TrialBuilder, record, worker

SLOT_ID_INVALID = 0x3
GENERAL_ERROR = 0x5
SESSION_INVALID = 0xB3
SEGV: dict[str, Any] = {"end": "signal", "status": int(signal.SIGSEGV)}


def examined(builder: TrialBuilder, *processes: ProcessRecord, **fields: Any) -> TrialFacts:
    return builder.examine(server_trial(*(processes or (master(), child(2), child(3))), **fields))


def found(facts: TrialFacts, name: str) -> Finding:
    """That cause, with all others not found."""
    assert set(facts.diagnosis) == set(CAUSES)
    assert not [other for other, one in facts.diagnosis.items() if one.count and other != name]
    assert not [one.undefined for one in facts.diagnosis.values() if one.undefined]
    return facts.diagnosis[name]


def nothing(facts: TrialFacts) -> None:
    assert not [name for name, one in facts.diagnosis.items() if one.count or one.undefined]
    assert set(facts.diagnosis) == set(CAUSES)


def threaded(builder: TrialBuilder, index: int = 2, apart: float = 0.0, **of_initialize: Any) -> TrialBuilder:
    """A worker that initialises, and two threads of which the second signs `apart` ms after the first began."""
    builder.call("C_Initialize", index, at=10, **of_initialize)
    for thread, session in ((1, 5), (2, 6)):
        builder.call("C_OpenSession", index, tid=thread, at=10 + thread, session=session)
        builder.call("C_Login", index, tid=thread, at=13 + thread, session=session)
        builder.call("C_FindObjects", index, tid=thread, at=16 + thread, session=session, key=7, argument=1)
    builder.call("C_Sign", index, tid=1, at=20, until=21, session=5)
    return builder.call("C_Sign", index, tid=2, at=20 + apart, session=6, returned=False)


def test_a_clean_server_has_none_of_the_causes_and_all_are_named() -> None:
    facts = examined(forked(TrialBuilder(), 2, 3))
    nothing(facts)
    told = summary_of(facts)["diagnosis"]
    assert told == {name: {"count": 0, "processes": 0, "evidence": None} for name in CAUSES}


def test_an_arm_that_made_no_call_has_no_diagnosis() -> None:
    assert summary_of(examined(TrialBuilder()))["diagnosis"] is None


@pytest.mark.parametrize("locking", ["null_argument", "no_flags"])
def test_threads_that_met_after_no_locking_was_declared_explain_a_crash(locking: str) -> None:
    builder = threaded(opened(TrialBuilder()), apart=0.5, locking=locking)
    one = found(examined(builder, master(), child(2, **SEGV)), "crash-without-locking")
    assert (one.count, one.processes) == (1, 1)
    for said in ("process 2 (pid 1002) died of SIGSEGV", "3 threads", "C_Sign, which never returned"):
        assert said in one.evidence
    assert ("NULL" if locking == "null_argument" else "no flags") in one.evidence


@pytest.mark.parametrize(
    ("apart", "locking", "changed", "end"),
    [
        (0.5, "os", False, SEGV),
        (0.5, "null_argument", True, SEGV),  # the tap declared locking instead
        (2.0, "null_argument", False, SEGV),  # one after the other
        (0.5, "null_argument", False, {"end": "signal", "status": int(signal.SIGTERM)}),
        (0.5, "null_argument", False, {"end": "unknown"}),
    ],
)
def test_other_ends_and_other_threads_are_not_explained(
    apart: float, locking: str, changed: bool, end: dict[str, Any]
) -> None:
    builder = threaded(opened(TrialBuilder()), apart=apart, locking=locking, tap_changed=changed)
    nothing(examined(builder, master(), child(2, **end)))


def test_one_thread_that_dies_without_locking_had_another_cause() -> None:
    builder = opened(TrialBuilder()).call("C_Initialize", 2, at=10, locking="null_argument")
    builder.call("C_OpenSession", 2, at=11, session=5, returned=False)
    nothing(examined(builder, master(), child(2, **SEGV)))


def test_a_crash_in_an_inherited_context_is_laid_to_what_the_ancestor_declared() -> None:
    builder = TrialBuilder().call("C_Initialize", MASTER, at=-90, locking="null_argument")
    builder.call("C_OpenSession", 2, tid=1, at=10, until=12, session=5)
    builder.call("C_OpenSession", 2, tid=2, at=11, session=6, returned=False)
    one = found(examined(builder, master(), child(2, **SEGV)), "crash-without-locking")
    assert "ancestor, process 1," in one.evidence


def test_what_a_refused_initialise_asked_for_explains_no_crash() -> None:
    builder = threaded(opened(TrialBuilder()), apart=0.5, locking="os")
    builder.call("C_Initialize", 2, at=15, locking="null_argument", ckr=ALREADY_INITIALIZED)
    nothing(examined(builder, master(), child(2, **SEGV)))
    builder = threaded(opened(TrialBuilder()), apart=0.5, locking="null_argument")
    builder.call("C_Initialize", 2, at=15, locking="os", ckr=ALREADY_INITIALIZED)
    assert found(examined(builder, master(), child(2, **SEGV)), "crash-without-locking").count == 1


@pytest.mark.parametrize(("theirs", "own", "count"), [("os", "null_argument", 0), ("null_argument", "os", 1)])
def test_a_process_whose_initialise_was_refused_runs_on_its_ancestors_locking(
    theirs: str, own: str, count: int
) -> None:
    builder = TrialBuilder().call("C_Initialize", MASTER, at=-90, locking=theirs)
    builder.call("C_Initialize", 2, at=9, locking=own, ckr=ALREADY_INITIALIZED)
    builder.call("C_OpenSession", 2, tid=1, at=10, until=12, session=5)
    builder.call("C_OpenSession", 2, tid=2, at=11, session=6, returned=False)
    one = found(examined(builder, master(), child(2, **SEGV)), "crash-without-locking")
    assert one.count == count
    assert not count or "ancestor, process 1," in one.evidence


def test_an_initialise_that_never_returned_is_taken_at_its_word() -> None:
    builder = TrialBuilder().call("C_Initialize", 2, tid=1, at=10, locking="no_flags", returned=False)
    builder.call("C_GetSlotList", 2, tid=2, at=11, returned=False)
    assert found(examined(builder, master(), child(2, **SEGV)), "crash-without-locking").count == 1


def test_the_labs_own_workers_are_diagnosed_too() -> None:
    builder = threaded(TrialBuilder(), 1, apart=0.5, locking="null_argument")
    facts = builder.examine(record(worker(1, **SEGV)))
    assert found(facts, "crash-without-locking").count == 1
    told = summary_of(facts, arm=ARM)["diagnosis"]["crash-without-locking"]
    assert (told["count"], told["processes"]) == (1, 1)
    assert told["evidence"].startswith("trial 1, process 1")


@pytest.mark.parametrize(
    ("code", "name"),
    [(SESSION_INVALID, "CKR_SESSION_HANDLE_INVALID"), (NOT_INITIALIZED, "CKR_CRYPTOKI_NOT_INITIALIZED"), (0, "CKR_OK")],
)
def test_a_session_of_the_parents_is_an_inherited_handle_whatever_was_answered(code: int, name: str) -> None:
    builder = opened(TrialBuilder()).call("C_SignInit", 2, at=20, session=5, key=7, ckr=code)
    one = found(examined(builder, master(), child(2)), "inherited-handle")
    assert (one.count, one.processes) == (1, 1)
    for said in ("process 2 (pid 1002)", "session handle 5", f"answered {name} to 1", "it never called C_Initialize"):
        assert said in one.evidence


def test_a_handle_of_before_a_failed_re_initialisation_is_an_inherited_one() -> None:
    builder = opened(TrialBuilder()).call("C_Initialize", 2, at=10, ckr=ALREADY_INITIALIZED)
    builder.call("C_SignInit", 2, at=20, session=5, key=7, ckr=SESSION_INVALID)
    one = found(examined(builder, master(), child(2)), "inherited-handle")
    assert "its C_Initialize answered CKR_CRYPTOKI_ALREADY_INITIALIZED" in one.evidence


def test_a_key_of_before_a_successful_re_initialisation_is_an_inherited_one() -> None:
    builder = opened(TrialBuilder()).call("C_Initialize", 2, at=10).call("C_OpenSession", 2, at=11, session=6)
    builder.call("C_SignInit", 2, at=20, session=6, key=7, ckr=0x60)
    one = found(examined(builder, master(), child(2)), "inherited-handle")
    assert "object handle 7" in one.evidence
    assert "it is from before" in one.evidence


def test_a_bad_handle_that_was_ones_own_and_an_error_of_another_kind_are_not_inherited() -> None:
    builder = forked(TrialBuilder(), 2, 3)
    builder.call("C_CloseSession", 2, at=50, session=5).call("C_Sign", 2, at=51, session=5, ckr=SESSION_INVALID)
    nothing(examined(builder))
    builder.call("C_Sign", 3, at=51, session=99, ckr=0x30)  # CKR_DEVICE_ERROR
    nothing(examined(builder))


def test_a_login_that_was_there_after_a_fresh_initialise_is_inherited() -> None:
    builder = opened(TrialBuilder()).call("C_Initialize", 2, at=20).call("C_OpenSession", 2, at=21, session=5)
    builder.call("C_Login", 2, at=22, session=5, ckr=ALREADY_LOGGED_IN)
    one = found(examined(builder, master(), child(2)), "inherited-login")
    assert (one.count, one.processes) == (1, 1)
    assert "C_Login, which answered CKR_USER_ALREADY_LOGGED_IN" in one.evidence


def test_a_second_login_of_ones_own_and_one_in_an_inherited_context_are_not_inherited_logins() -> None:
    builder = forked(TrialBuilder(), 2).call("C_Login", 2, at=60, session=5, ckr=ALREADY_LOGGED_IN)
    builder.call("C_OpenSession", 3, at=60, session=8).call("C_Login", 3, at=61, session=8, ckr=ALREADY_LOGGED_IN)
    nothing(examined(builder))


@pytest.mark.parametrize(
    ("function", "code"),
    [("C_OpenSession", SLOT_ID_INVALID), ("C_GetTokenInfo", 0xE0), ("C_Login", GENERAL_ERROR), ("C_GetSlotList", 5)],
)
def test_a_token_that_is_missed_while_another_process_logs_in_is_a_race(function: str, code: int) -> None:
    builder = TrialBuilder().call("C_Initialize", 2, at=0).call("C_Initialize", 3, at=0)
    builder.call("C_OpenSession", 3, at=1, session=5).call("C_Login", 3, at=20, until=40, session=5)
    builder.call(function, 2, at=85, ckr=code)
    one = found(examined(builder), "login-race")
    assert (one.count, one.processes) == (1, 1)
    assert f"process 2 (pid 1002), thread 1002: {function} answered CKR_" in one.evidence
    assert "process 3" in one.evidence


def test_a_token_that_breaks_after_a_login_is_no_race() -> None:
    builder = TrialBuilder().call("C_Initialize", 2, at=0).call("C_Initialize", 3, at=0)
    builder.call("C_OpenSession", 2, at=1, session=4).call("C_Login", 2, at=2, session=4)
    builder.call("C_OpenSession", 3, at=1, session=5).call("C_Login", 3, at=20, until=40, session=5)
    nothing(examined(builder.call("C_OpenSession", 2, at=45, ckr=GENERAL_ERROR)))


def test_an_empty_slot_that_is_no_token_is_no_race() -> None:
    builder = TrialBuilder().call("C_Initialize", 2, at=0).call("C_Initialize", 3, at=0)
    builder.call("C_OpenSession", 3, at=1, session=5).call("C_Login", 3, at=20, until=40, session=5)
    nothing(examined(builder.call("C_OpenSession", 2, at=85, argument=1, ckr=0xE1)))


def racing() -> TrialBuilder:
    """Workers 2 and 3 initialise; 3 opens a session on slot 17 and logs in from 20 to 40 ms."""
    builder = TrialBuilder().call("C_Initialize", 2, at=0).call("C_Initialize", 3, at=0)
    builder.call("C_OpenSession", 3, at=1, session=5, argument=17)
    return builder.call("C_Login", 3, at=20, until=40, session=5)


@pytest.mark.parametrize("function", ["C_GetTokenInfo", "C_OpenSession"])
def test_the_slot_of_the_token_that_is_not_recognized_is_a_race(function: str) -> None:
    one = found(examined(racing().call(function, 2, at=85, argument=17, ckr=0xE1)), "login-race")
    assert "CKR_TOKEN_NOT_RECOGNIZED" in one.evidence
    nothing(examined(racing().call(function, 2, at=85, argument=18, ckr=0xE1)))


@pytest.mark.parametrize("code", [0, ALREADY_LOGGED_IN])
def test_a_token_that_breaks_once_it_was_found_is_no_race(code: int) -> None:
    builder = racing().call("C_OpenSession", 2, at=41, session=6).call("C_Login", 2, at=42, session=6, ckr=code)
    facts = examined(builder.call("C_OpenSession", 2, at=60, ckr=GENERAL_ERROR))
    assert facts.diagnosis["login-race"].count == 0
    builder = racing().call("C_OpenSession", 2, at=41, session=6)
    builder.call("C_FindObjects", 2, at=42, session=6, key=7, argument=1).sign(2, at=43, session=6)
    nothing(examined(builder.call("C_OpenSession", 2, at=60, ckr=GENERAL_ERROR)))


def test_a_token_is_looked_for_anew_in_each_context() -> None:
    builder = racing().call("C_OpenSession", 2, at=41, session=6).call("C_Login", 2, at=42, session=6)
    builder.call("C_Finalize", 2, at=43).call("C_Initialize", 2, at=44)
    assert found(examined(builder.call("C_OpenSession", 2, at=60, ckr=GENERAL_ERROR)), "login-race").count == 1


def test_all_tries_of_those_that_missed_the_token_count_and_cost_no_object_each() -> None:
    builder = racing().call("C_Initialize", 4, at=0)
    for at in range(400):
        builder.call("C_OpenSession", 2 + 2 * (at % 2), at=60 + at, ckr=SLOT_ID_INVALID)
    facts = examined(builder, master(), child(2), child(3), child(4))
    one = found(facts, "login-race")
    assert (one.count, one.processes) == (400, 2)


def test_a_miss_that_is_as_near_to_ones_own_login_only_is_no_race() -> None:
    builder = TrialBuilder().call("C_Initialize", 3, at=0).call("C_Initialize", 2, at=200)
    nothing(examined(builder.call("C_OpenSession", 2, at=201, ckr=SLOT_ID_INVALID)))


def test_a_token_that_is_missed_when_nobody_else_is_near_is_no_race() -> None:
    builder = TrialBuilder().call("C_Initialize", 2, at=95).call("C_Initialize", 3, at=0)
    builder.call("C_OpenSession", 3, at=1, session=5).call("C_Login", 3, at=20, until=40, session=5)
    nothing(examined(builder.call("C_GetTokenInfo", 2, at=100, ckr=SLOT_ID_INVALID)))


def herd(slots: int, opens: bool, asks: int | None = 0) -> TrialFacts:
    """Two workers of the lab's own; the second is told of so many slots, of which the first saw two, and asks about the
    token in one. The token is in slot 17."""
    builder = TrialBuilder()
    for index, told in ((1, 2), (2, slots)):
        builder.call("C_Initialize", index, at=index)
        builder.call("C_GetSlotList", index, at=3, argument=2).call("C_GetSlotList", index, at=4, argument=told)
        for slot in (asks,) if index == 2 else (17,):
            if slot is not None:
                builder.call("C_GetTokenInfo", index, at=4.6, argument=slot)
        if index == 1 or opens:
            builder.call("C_OpenSession", index, at=5, session=5, argument=17)
            builder.call("C_Login", index, at=6, session=5)
    return builder.examine(record(worker(1), worker(2, detail="no matching token")))


@pytest.mark.parametrize(("slots", "said"), [(1, "with 1 slots (others saw 2)"), (0, "with no slot")])
def test_a_slot_list_without_the_token_is_a_race_in_the_labs_own_herd_too(slots: int, said: str) -> None:
    one = found(herd(slots, opens=False), "login-race")
    assert (one.count, one.processes) == (1, 1)
    assert said in one.evidence


def test_a_slot_list_that_led_to_a_session_or_lacks_nothing_is_no_race() -> None:
    nothing(herd(2, opens=False))
    nothing(herd(1, opens=True))


@pytest.mark.parametrize("asks", [None, 17])
def test_an_idle_worker_that_listed_fewer_slots_and_opened_no_session_did_not_miss_the_token(asks: int | None) -> None:
    nothing(herd(1, opens=False, asks=asks))


def test_the_slots_that_a_broker_sees_are_not_compared_with_the_servers() -> None:
    builder = TrialBuilder().call("C_Initialize", 7, at=1).call("C_GetSlotList", 7, at=2, argument=5)
    builder.call("C_Initialize", 2, at=1).call("C_GetSlotList", 2, at=3, argument=1)
    nothing(examined(builder, master(), child(2), beside(7)))


def test_a_daemon_on_its_dead_parents_context_is_named() -> None:
    builder = fresh(TrialBuilder(), 7, -200)
    builder.call("C_GetTokenInfo", MASTER, at=-90)
    one = found(examined(builder, beside(7, program="apache2"), master()), "context-of-an-ancestor")
    assert (one.count, one.processes) == (1, 1)
    for said in ("process 1 (pid 1001), the server's master", "its parent, process 7 (pid 1007)", "before release"):
        assert said in one.evidence


def test_a_daemon_whose_starter_is_not_known_is_named_all_the_same() -> None:
    one = found(examined(TrialBuilder().call("C_GetTokenInfo", MASTER, at=-90), master()), "context-of-an-ancestor")
    assert "a parent that is gone" in one.evidence


def test_a_daemon_that_is_recorded_as_a_worker_is_known_by_its_children() -> None:
    builder = fresh(TrialBuilder(), MASTER, -200).call("C_GetTokenInfo", 2, at=-90)
    facts = examined(builder, master(gone=-150), child(2), child(3, parent=2))
    assert found(facts, "context-of-an-ancestor").processes == 1


def test_a_daemon_that_initialises_and_workers_that_do_not_are_no_such_masters() -> None:
    nothing(examined(opened(fresh(TrialBuilder(), 7, -200)), beside(7, program="apache2"), master()))
    builder = opened(TrialBuilder()).call("C_GetTokenInfo", 2, at=10)
    nothing(examined(builder, master(), child(2)))


def test_a_cause_whose_check_raises_finds_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> Finding:
        raise ValueError("odd")

    monkeypatch.setitem(diagnosis.CAUSES, "login-race", broken)
    told = diagnosis.diagnose(record(worker(1)), {}, Origin(0, "release"))
    assert told["login-race"].count == 0
    assert "ValueError: odd" in told["login-race"].undefined
    summary = diagnosis.to_json([(1, told)])
    assert summary is not None
    assert summary["login-race"]["count"] == 0


def test_a_token_that_is_missed_long_before_anybody_logs_in_is_no_race() -> None:
    builder = TrialBuilder().call("C_Initialize", 2, at=0).call("C_GetTokenInfo", 2, at=1, ckr=SLOT_ID_INVALID)
    nothing(examined(builder.call("C_Initialize", 3, at=100)))


def test_a_master_that_got_nothing_from_the_context_and_one_whose_parent_lives_are_not_named() -> None:
    builder = fresh(TrialBuilder(), 7, -200).call("C_GetTokenInfo", MASTER, at=-90, ckr=0x30)
    nothing(examined(builder, beside(7, program="apache2"), master()))
    builder = opened(TrialBuilder()).call("C_GetTokenInfo", 2, at=10).call("C_GetInfo", MASTER, at=50)
    nothing(examined(builder, master(), child(2), child(3, parent=2)))


def test_a_login_found_before_the_own_initialise_is_not_one_under_it() -> None:
    builder = opened(TrialBuilder()).call("C_OpenSession", 2, at=10, session=8)
    builder.call("C_Login", 2, at=11, session=8, ckr=ALREADY_LOGGED_IN)
    nothing(examined(fresh(builder, 2, 20), master(), child(2)))
