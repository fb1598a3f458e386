"""Each rule: a run that breaks it, one that keeps it, one that never could have broken it."""

from __future__ import annotations

import pytest

from lab.analysis.rules import PROCESS_RULES, RULES, TRIAL_RULES, TrialView, check_process, check_trial
from lab.analysis.rules.finding import Finding, judged
from tests.trial_builder import (
    ALREADY_INITIALIZED,
    ALREADY_LOGGED_IN,
    NOT_INITIALIZED,
    NS_PER_MS,
    TrialBuilder,
    record,
    worker,
)


def check(rule: str, builder: TrialBuilder, process: int = 1) -> Finding:
    return check_process(builder.process(process), None)[rule]


def verdict(finding: Finding) -> str:
    return str(judged([(1, finding)])["verdict"])


def trial_rule(rule: str, builder: TrialBuilder, *processes: object) -> Finding:
    return builder.examine(record(*(processes or (worker(1), worker(2))))).rules[rule]  # type: ignore[arg-type]


def test_every_rule_of_the_design_is_in_one_of_the_two_tables() -> None:
    assert sorted(RULES) == sorted([*PROCESS_RULES, *TRIAL_RULES])


@pytest.mark.parametrize("rule", sorted(PROCESS_RULES))
def test_a_process_that_does_everything_right_breaks_no_rule(rule: str) -> None:
    found = check(rule, TrialBuilder().begin().sign(tag=11).sign(tag=12).end())
    assert verdict(found) == ("not-exercised" if "thread" in rule or "locking" in rule else "conforms")


def test_a_child_that_signs_with_what_it_inherited_called_without_initialising_whatever_the_module_answered() -> None:
    quiet = check("initialize-per-process", TrialBuilder().sign())
    refused = check("initialize-per-process", TrialBuilder().sign(ckr=NOT_INITIALIZED))
    assert quiet.count == refused.count == 2
    assert "C_SignInit, which answered CKR_CRYPTOKI_NOT_INITIALIZED, 1.000 ms after release" in refused.evidence
    assert "process 1 (pid 1001), thread 1001" in refused.evidence
    assert "CKR_OK to 2" in quiet.evidence


@pytest.mark.parametrize(("flags", "expected"), [(1, "undefined"), (0, "violates")])
def test_a_module_that_declares_itself_fork_safe_leaves_the_rule_open(flags: int, expected: str) -> None:
    parent = TrialBuilder().call("C_GetInterface", process=0, argument=flags).sign()
    assert verdict(trial_rule("initialize-per-process", parent)) == expected


def test_getting_the_function_list_is_no_use_of_a_context_and_getting_info_is() -> None:
    assert check("initialize-per-process", TrialBuilder().call("C_GetFunctionList").begin().end()).count == 0
    assert check("initialize-per-process", TrialBuilder().call("C_GetInfo").begin().end()).count == 1


def test_an_initialise_that_answers_already_initialised_is_not_the_process_s_own() -> None:
    found = check("initialize-per-process", TrialBuilder().call("C_Initialize", ckr=ALREADY_INITIALIZED).sign())
    assert found.count == 2
    assert "CKR_CRYPTOKI_ALREADY_INITIALIZED" in found.evidence


def test_calls_between_finalise_and_the_next_initialise_are_without_a_context() -> None:
    found = check("initialize-per-process", TrialBuilder().begin().end().sign().begin().sign().end())
    assert found.count == 2
    assert "after its C_Finalize" in found.evidence


def test_a_call_of_another_thread_while_initialise_has_not_returned_is_too_early() -> None:
    builder = TrialBuilder().call("C_Initialize", at=1, until=5).call("C_GetSlotList", tid=9, at=3)
    assert check("initialize-per-process", builder).count == 1


def test_the_finalise_of_a_reload_is_noted_and_not_counted() -> None:
    found = check("initialize-per-process", TrialBuilder().call("C_Finalize", ckr=NOT_INITIALIZED).begin().sign().end())
    assert found.count == 0
    assert "a step of the reload, not counted" in found.note


def test_a_process_without_calls_leaves_the_call_rules_unexercised() -> None:
    rules = TrialBuilder().operation().examine(record(worker(1, 1))).rules
    assert all(verdict(rules[rule]) == "not-exercised" for rule in PROCESS_RULES)


def test_a_session_handle_that_the_process_did_not_open_is_foreign() -> None:
    found = check("own-handles", TrialBuilder().begin().sign(session=6).end())
    assert found.count == 2
    assert "used session handle 6" in found.evidence


def test_a_session_handle_used_before_the_same_number_was_obtained_is_foreign() -> None:
    assert check("own-handles", TrialBuilder().call("C_Initialize").sign(key=0).begin()).count == 2


def test_handles_do_not_outlive_an_initialise_of_the_process() -> None:
    builder = TrialBuilder().begin().sign().call("C_Finalize").call("C_Initialize").sign(key=0)
    assert check("own-handles", builder).count == 2


def test_an_object_handle_that_no_search_of_the_process_found_is_foreign() -> None:
    found = check("own-handles", TrialBuilder().begin(key=7).sign(key=8).end())
    assert found.count == 1
    assert "used object handle 8" in found.evidence


def test_object_handles_are_not_judged_where_a_search_found_more_than_the_row_can_hold() -> None:
    builder = TrialBuilder().begin().call("C_FindObjects", session=5, key=7, argument=3).sign(key=8).end()
    assert verdict(check("own-handles", builder)) == "conforms"


def test_both_handles_of_a_generated_key_pair_are_own() -> None:
    builder = TrialBuilder().begin().call("C_GenerateKeyPair", session=5, key=20, argument=21)
    builder.sign(key=20).call("C_VerifyInit", session=5, key=21)
    assert verdict(check("own-handles", builder)) == "conforms"


def test_calls_without_handles_do_not_exercise_own_handles() -> None:
    assert verdict(check("own-handles", TrialBuilder().call("C_Initialize").call("C_GetSlotList"))) == "not-exercised"


def test_already_logged_in_at_the_first_login_of_a_process_is_somebody_else_s_login() -> None:
    builder = TrialBuilder().call("C_Initialize").call("C_OpenSession", session=5)
    found = check("login-per-process", builder.call("C_Login", session=5, ckr=ALREADY_LOGGED_IN))
    assert found.count == 1
    assert "C_Login, which answered CKR_USER_ALREADY_LOGGED_IN" in found.evidence


def test_a_second_thread_that_finds_its_process_logged_in_breaks_nothing() -> None:
    builder = TrialBuilder().begin().call("C_Login", tid=9, session=5, ckr=ALREADY_LOGGED_IN)
    assert verdict(check("login-per-process", builder)) == "conforms"


def test_two_threads_that_log_in_at_once_share_one_login() -> None:
    builder = TrialBuilder().call("C_Initialize", at=0).call("C_Login", at=1, until=4, ckr=ALREADY_LOGGED_IN)
    assert verdict(check("login-per-process", builder.call("C_Login", tid=9, at=2, until=3))) == "conforms"


def test_without_a_login_the_login_rule_is_not_exercised() -> None:
    assert verdict(check("login-per-process", TrialBuilder().call("C_Initialize"))) == "not-exercised"


def test_two_threads_inside_one_session_at_once_break_the_rule_and_are_both_named() -> None:
    builder = TrialBuilder().begin()
    builder.call("C_Sign", session=5, tid=1, at=10, until=12).call("C_SignInit", session=5, tid=2, at=11, until=13)
    found = check("one-thread-per-session", builder)
    assert found.count == 1
    assert "thread 2: C_SignInit" in found.evidence
    assert "while thread 1 was in C_Sign" in found.evidence


def test_a_long_call_overlaps_every_other_call_inside_it() -> None:
    builder = TrialBuilder().call("C_Sign", session=5, tid=1, at=10, until=20)
    for at in (11, 13, 15):
        builder.call("C_Sign", session=5, tid=2, at=at, until=at + 1)
    assert check("one-thread-per-session", builder).count == 3


def test_a_call_that_never_returned_still_occupies_its_session() -> None:
    builder = TrialBuilder().call("C_Sign", session=5, tid=1, at=10, returned=False)
    assert check("one-thread-per-session", builder.call("C_Sign", session=5, tid=2, at=50)).count == 1


def test_threads_that_take_turns_in_a_session_keep_the_rule() -> None:
    builder = TrialBuilder().call("C_Sign", session=5, tid=1, at=1).call("C_Sign", session=5, tid=2, at=2)
    assert verdict(check("one-thread-per-session", builder)) == "conforms"


@pytest.mark.parametrize("far", [6, 2**40])
def test_threads_with_a_session_each_keep_the_rule_however_far_apart_the_handles_are(far: int) -> None:
    builder = TrialBuilder().call("C_Sign", session=5, tid=1, at=1, until=9)
    builder.call("C_Sign", session=far, tid=2, at=2, until=8).call("C_Sign", session=far, tid=3, at=8.5)
    assert verdict(check("one-thread-per-session", builder)) == "conforms"


def test_equal_handles_of_two_processes_are_two_sessions() -> None:
    builder = TrialBuilder().call("C_Sign", 1, session=5, at=1, until=9).call("C_Sign", 2, session=5, at=2, until=8)
    assert verdict(trial_rule("one-thread-per-session", builder)) == "not-exercised"


def test_a_handle_given_out_again_while_its_close_returns_is_not_shared() -> None:
    builder = TrialBuilder().call("C_CloseSession", session=5, tid=1, at=1, until=9)
    builder.call("C_OpenSession", session=5, tid=2, at=2, until=3).call("C_Sign", session=5, tid=2, at=4)
    assert verdict(check("one-thread-per-session", builder)) == "conforms"


def test_a_second_thread_after_declaring_os_locking_keeps_the_rule() -> None:
    assert verdict(check("locking-declared", TrialBuilder().begin(locking="os").sign(tid=9).end())) == "conforms"


@pytest.mark.parametrize("locking", ["null_argument", "no_flags"])
def test_a_second_thread_after_declaring_none_breaks_the_rule(locking: str) -> None:
    found = check("locking-declared", TrialBuilder().begin(locking=locking).sign(tid=9).end())
    assert found.count == 2
    assert "thread 9: C_SignInit" in found.evidence


def test_the_caller_s_declaration_counts_where_the_tap_changed_it() -> None:
    builder = TrialBuilder().call("C_Initialize", locking="null_argument", tap_changed=True)
    found = check("locking-declared", builder.call("C_GetSlotList").call("C_GetSlotList", tid=9))
    assert found.count == 1
    assert "the tap declared OS locking instead" in found.note


def test_one_thread_after_declaring_none_keeps_the_rule() -> None:
    assert verdict(check("locking-declared", TrialBuilder().begin(locking="null_argument").sign())) == "conforms"


def test_the_same_nonce_for_different_data_in_two_processes_is_found() -> None:
    builder = TrialBuilder().begin(1).begin(2).sign(1, tag=77, data=1).sign(2, tag=77, data=2).sign(2, tag=5, data=3)
    found = trial_rule("unique-randomness", builder)
    assert found.count == 2
    assert "process 1 (pid 1001)" in found.evidence
    assert "process 2 (pid 1002)" in found.evidence
    assert "2 of 2 processes are affected" in found.evidence


def test_a_deterministic_signature_repeated_for_the_same_data_is_no_violation() -> None:
    builder = TrialBuilder().begin(1).begin(2).sign(1, tag=77, data=1).sign(2, tag=77, data=1)
    assert verdict(trial_rule("unique-randomness", builder)) == "conforms"


def test_equal_rsa_signatures_say_nothing_of_nonces() -> None:
    builder = TrialBuilder().begin(1).sign(1, tag=77, data=1, mechanism=1).sign(1, tag=77, data=2, mechanism=1)
    assert verdict(trial_rule("unique-randomness", builder)) == "not-exercised"


def test_the_mechanism_is_that_of_the_session_s_latest_sign_init() -> None:
    builder = TrialBuilder().begin(1).call("C_OpenSession", session=6)
    builder.call("C_SignInit", session=5, argument=1).call("C_SignInit", session=6, argument=0x1041)
    builder.call("C_Sign", session=5, argument=1, tag=77).call("C_Sign", session=6, argument=2, tag=77)
    assert verdict(trial_rule("unique-randomness", builder)) == "conforms"
    builder.sign(1, session=5, tag=77, data=3)
    assert trial_rule("unique-randomness", builder).count == 2


def in_parts(builder: TrialBuilder, *parts: int, tag: int = 77, mechanism: int = 0x1044, process: int = 1) -> None:
    """A signature by C_SignFinal of parts with these tags."""
    builder.call("C_SignInit", process, session=5, argument=mechanism)
    for part in parts:
        builder.call("C_SignUpdate", process, session=5, argument=20, tag=part)
    builder.call("C_SignFinal", process, session=5, tag=tag)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [((1,), (2,), "violates"), ((1,), (1,), "conforms"), ((1, 5), (1, 6), "violates"), ((1, 5), (1, 5), "conforms")],
)
@pytest.mark.parametrize("other", [1, 2])
def test_a_nonce_counts_wherever_a_signature_in_parts_comes_out(
    first: tuple[int, ...], second: tuple[int, ...], expected: str, other: int
) -> None:
    builder = TrialBuilder().begin(1).begin(2)
    in_parts(builder, *first)
    builder.call("C_SignUpdate", session=6, tag=9)  # of another session
    in_parts(builder, *second, process=other)
    found = trial_rule("unique-randomness", builder)
    assert verdict(found) == expected
    assert expected == "conforms" or "C_SignFinal" in found.evidence


def test_one_nonce_for_whole_data_and_for_parts_is_found() -> None:
    builder = TrialBuilder().begin(1).sign(1, tag=77, data=1)
    in_parts(builder, 2)
    assert trial_rule("unique-randomness", builder).count == 2


def test_rsa_in_parts_that_repeats_itself_says_nothing_of_nonces() -> None:
    """CKM_SHA256_RSA_PKCS is deterministic, and has no nonce."""
    builder = TrialBuilder().begin(1)
    in_parts(builder, 1, mechanism=0x40)
    in_parts(builder, 2, mechanism=0x40)
    assert verdict(trial_rule("unique-randomness", builder)) == "not-exercised"
    builder.sign(1, tag=5)
    assert verdict(trial_rule("unique-randomness", builder)) == "conforms"


@pytest.mark.parametrize(("length", "expected"), [(32, "violates"), (8, "not-exercised")])
def test_equal_random_outputs_count_from_sixteen_bytes_on(length: int, expected: str) -> None:
    builder = TrialBuilder()
    for process in (1, 2):
        builder.begin(process).call("C_GenerateRandom", process, session=5, argument=length, tag=99)
    assert verdict(trial_rule("unique-randomness", builder)) == expected


def test_a_session_that_is_never_closed_is_named_with_its_opening() -> None:
    found = check(
        "sessions-closed", TrialBuilder().begin().call("C_OpenSession", session=6).call("C_CloseSession", session=5)
    )
    assert found.count == 1
    assert "opened session 6, which was never closed" in found.evidence


def test_a_crashed_process_leaks_and_the_note_says_how_it_ended() -> None:
    found = trial_rule("sessions-closed", TrialBuilder().begin(1), worker(1, end="signal", status=11))
    assert found.count == 1
    assert "died of SIGSEGV" in found.note


@pytest.mark.parametrize(("closing", "expected"), [("C_Finalize", "conforms"), ("C_CloseAllSessions", "conforms")])
def test_finalise_and_close_all_close_every_session(closing: str, expected: str) -> None:
    builder = TrialBuilder().begin().call("C_OpenSession", session=6).call(closing)
    assert verdict(check("sessions-closed", builder)) == expected


def test_a_child_that_closes_an_inherited_handle_opened_nothing() -> None:
    assert verdict(check("sessions-closed", TrialBuilder().call("C_CloseSession", session=5))) == "not-exercised"


@pytest.mark.parametrize(
    ("outcome", "expected"), [("ok", "conforms"), ("fail", "violates"), ("info", "violates"), (None, "not-exercised")]
)
def test_the_parent_is_unharmed_when_its_own_operation_still_ends_well(outcome: str | None, expected: str) -> None:
    root = worker(0, role="root")
    builder = TrialBuilder().operation(1)
    if outcome:
        builder.operation(
            0, outcome=outcome, phase="parent_check", code=5 * (outcome == "fail"), function="C_Sign", at=3
        )
    found = trial_rule("parent-unharmed", builder, root, worker(1, 1))
    assert verdict(found) == expected
    if outcome == "fail":
        assert "failed with CKR_GENERAL_ERROR in C_Sign, 3.000 ms after release" in found.evidence


@pytest.mark.parametrize(("rule", "end", "status"), [("no-crash", "signal", 11), ("no-hang", "hang", 0)])
def test_a_crash_and_a_hang_are_told_with_the_last_call(rule: str, end: str, status: int) -> None:
    lost = worker(2, end=end, status=status, last_call="C_Sign", stack="stack-2.txt")
    builder = TrialBuilder().begin(2).call("C_Sign", 2, session=5, tid=44, at=9, returned=False)
    found = trial_rule(rule, builder, worker(1), lost)
    assert found.count == 1
    assert found.evidence.startswith("process 2 (pid 1002)")
    assert "thread 44: C_Sign, which never returned, 9.000 ms after release" in found.evidence
    assert "stack-2.txt" in found.evidence
    assert verdict(trial_rule(rule, builder, worker(1), worker(2))) == "conforms"
    assert verdict(trial_rule(rule, builder, worker(1, end="never-started"))) == "not-exercised"


def test_a_rule_that_raises_is_undefined_and_says_why() -> None:
    def broken(*_: object) -> Finding:
        raise ZeroDivisionError("no such luck")

    of_process = check_process(TrialBuilder().begin().process(), None, {"own-handles": broken})["own-handles"]
    of_trial = check_trial(TrialView(record(), TrialBuilder().begin().process().origin), {"no-crash": broken})[
        "no-crash"
    ]
    for found in (of_process, of_trial):
        judgement = judged([(1, Finding(exercised=True)), (2, found)])
        assert judgement["verdict"] == "undefined"
        assert "trial 2, the check failed with ZeroDivisionError: no such luck" in judgement["evidence"]


def test_a_violation_stands_although_another_check_failed() -> None:
    broken = judged(
        [(1, Finding(True, undefined="the check failed")), (2, Finding(True, 3, 0, "process 1 did it", processes=1))]
    )
    assert broken["verdict"] == "violates"
    assert broken["count"] == 3
    assert broken["evidence"].startswith("trial 2, process 1 did it")


def test_rows_out_of_order_are_judged_by_their_start() -> None:
    builder = TrialBuilder().call("C_GetSlotList", at=20).call("C_Initialize", at=10)
    assert verdict(check("initialize-per-process", builder)) == "conforms"
    assert builder.process().started_ns.tolist() == [10 * NS_PER_MS, 20 * NS_PER_MS]
