from __future__ import annotations

import pytest

from lab.probe.seen import End, Seen
from tests.probe.made_up import call, calls, died, hung, judge, signature

OK, CANT_LOCK, FUNCTION_FAILED, ACTIVE, LOGGED_IN, NOT_INITIALIZED, ALREADY = 0, 0xA, 0x6, 0x90, 0x100, 0x190, 0x191
DEVICE_MEMORY, GENERAL_ERROR, PIN_INCORRECT = 0x31, 0x5, 0xA0

ONE_OF_THEM = [("initialize-in-threads", "C_Initialize", ALREADY), ("login-in-threads", "C_Login", LOGGED_IN)]
ELSE = {"initialize-in-threads": "undefined", "login-in-threads": "violates"}
"""An application calls C_Initialize from one of its threads (v2.20, 6.6): a race for it is left open."""


@pytest.mark.parametrize(("line", "name", "others"), ONE_OF_THEM)
def test_one_that_succeeds_while_the_others_are_told_so_conforms(line: str, name: str, others: int) -> None:
    made = [
        *calls("thread", name, [others, OK, others], round=1),
        *calls("thread", name, [OK, others, others], round=2),
    ]

    found = judge(line, Seen(calls=tuple(made)))

    assert found.verdict == "conforms"
    assert "In each of 2 rounds with 3 threads one got CKR_OK" in found.seen


@pytest.mark.parametrize(("line", "name", "others"), ONE_OF_THEM)
@pytest.mark.parametrize("answers", [[OK, OK, None], [FUNCTION_FAILED, OK], [None, OK]])
def test_anything_else_violates_or_is_left_open(line: str, name: str, others: int, answers: list[int | None]) -> None:
    made = [*calls("thread", name, [OK, others], round=1), *calls("thread", name, answers, round=2)]

    found = judge(line, Seen(calls=tuple(made)))

    assert found.verdict == ELSE[line]
    assert "In 1 of 2 rounds" in found.seen
    assert "Round 2: " in found.seen


@pytest.mark.parametrize(("line", "name", "others"), ONE_OF_THEM)
def test_a_crash_is_told_with_its_place(line: str, name: str, others: int) -> None:
    made = tuple(call(f"thread {n}", name, ckr, 9, round=1) for n, ckr in enumerate([OK, others, None], start=1))

    found = judge(line, Seen(calls=made, ends=(died("process", pid=9),)))

    assert found.verdict == ELSE[line]
    assert found.seen.startswith(f"Process died of SIGSEGV in {name}, in round 1.")


def test_a_process_that_ends_in_the_midst_of_a_call_is_told() -> None:
    made = (call("thread 1", "C_Login", None, 9, round=1), call("thread 2", "C_Login", OK, 9, round=1))

    found = judge("login-in-threads", Seen(calls=made, ends=(End("process", 9, "exit", 0),)))

    assert found.verdict == "violates"
    assert found.seen.startswith("Process exited with 0 in C_Login, in round 1.")


def test_a_module_that_cannot_lock_may_say_so() -> None:
    refused = Seen(calls=tuple(calls("thread", "C_Initialize", [CANT_LOCK, CANT_LOCK], round=1)))

    assert judge("initialize-in-threads", refused).verdict == "conforms"
    assert (
        judge("threads-with-locking", Seen(calls=(call("process", "C_Initialize", CANT_LOCK),))).verdict == "conforms"
    )


def test_a_token_that_is_gone_after_the_race_is_told() -> None:
    made = tuple(calls("thread", "C_Initialize", [OK, ALREADY], round=1))

    found = judge("initialize-in-threads", Seen(calls=made, facts={"process found no token": True}))

    assert (found.verdict, "no longer found the token" in found.seen) == ("undefined", True)


def test_a_call_too_late_and_alone_is_told_so_or_violates() -> None:
    made = calls("thread", "C_Initialize", [OK, ALREADY], round=1)

    told = judge("initialize-in-threads", Seen(calls=(*made, call("process", "C_Initialize", ALREADY))))
    taken = judge("initialize-in-threads", Seen(calls=(*made, call("process", "C_Initialize", OK))))

    assert told.verdict == "conforms"
    assert (taken.verdict, taken.seen.endswith("Once more, and alone, it answered CKR_OK.")) == ("violates", True)


def test_a_single_session_is_no_race() -> None:
    assert judge("login-in-threads", Seen(calls=(call("thread 1", "C_Login", round=1),))).verdict == "not-exercised"


def test_processes_that_all_succeed_conform() -> None:
    seen = Seen(
        calls=(*calls("process", "C_Initialize", [OK] * 3), *calls("process", "C_Login", [OK] * 3)),
        outputs=(signature("process 1", b"r", b"1"),),
    )

    assert judge("initialize-in-processes", seen).seen == "C_Initialize in 3 processes at once: CKR_OK (3)."
    assert {judge(f"{what}-in-processes", seen).verdict for what in ("initialize", "login")} == {"conforms"}


def test_processes_that_do_not_all_succeed_violate() -> None:
    seen = Seen(calls=tuple(calls("process", "C_Login", [GENERAL_ERROR, OK, GENERAL_ERROR])))

    found = judge("login-in-processes", seen)

    assert found.verdict == "violates"
    assert found.seen == "C_Login in 3 processes at once: CKR_GENERAL_ERROR (2), CKR_OK (1)."


def test_what_a_lone_process_is_refused_too_is_no_race() -> None:
    made = (*calls("process", "C_Login", [GENERAL_ERROR] * 3), call("lone process", "C_Login", GENERAL_ERROR, 9))

    found = judge("login-in-processes", Seen(calls=made))

    assert found.verdict == "not-exercised"
    assert found.seen == "C_Login answers CKR_GENERAL_ERROR to a lone process, too."


def test_what_all_are_refused_but_a_lone_process_violates() -> None:
    made = (*calls("process", "C_Login", [GENERAL_ERROR] * 3), call("lone process", "C_Login", OK, 9))

    assert judge("login-in-processes", Seen(calls=made)).verdict == "violates"


@pytest.mark.parametrize(("line", "name", "others"), ONE_OF_THEM)
def test_what_works_for_no_thread_is_no_race(line: str, name: str, others: int) -> None:
    found = judge(line, Seen(calls=tuple(calls("thread", name, [GENERAL_ERROR, GENERAL_ERROR], round=1))))

    assert (found.verdict, found.seen) == ("not-exercised", f"{name} works for none: CKR_GENERAL_ERROR (2).")


def test_a_token_without_room_for_so_many_is_left_open() -> None:
    assert judge("login-in-processes", Seen(calls=tuple(calls("process", "C_Login", [DEVICE_MEMORY, OK])))).verdict == (
        "undefined"
    )


def test_a_process_that_hangs_a_token_that_is_lost_and_a_wrong_signature_violate() -> None:
    initialized = tuple(calls("process", "C_Initialize", [OK, None]))
    logged_in = tuple(calls("process", "C_Login", [OK, OK]))

    hanging = judge("initialize-in-processes", Seen(calls=initialized, ends=(hung("process 2", 2),)))
    lost = judge("initialize-in-processes", Seen(calls=initialized[:1] * 2, facts={"process 2 found no token": True}))
    wrong = judge("login-in-processes", Seen(calls=logged_in, outputs=(signature("process 2", b"r", b"1", False),)))

    assert [each.verdict for each in (hanging, lost, wrong)] == ["violates"] * 3
    assert "Process 2 hung in C_Initialize." in hanging.seen
    assert "1 of them did not find the token then." in lost.seen
    assert "Process 2 signed wrongly then." in wrong.seen


def loops(*answers: dict[str, int], right: bool = True) -> Seen:
    """Threads that came to the end of their loops."""
    return Seen(
        calls=(call("process", "C_Initialize"), *calls("thread", "C_Sign", [OK] * len(answers))),
        facts={f"answers of thread {n}": each for n, each in enumerate(answers, start=1)},
        outputs=(signature("thread 1", b"r", b"1"), signature("thread 2", b"s", b"2", right)),
    )


CRASHED = Seen(
    calls=tuple(call(f"thread {n}", "C_Sign", None, 9) for n in (1, 2)), ends=(died("process", pid=9),)
)  # fmt: skip
WELL = {"C_SignInit CKR_OK": 4, "C_Sign CKR_OK": 4}
IN_THE_WAY = {"C_SignInit CKR_OPERATION_ACTIVE": 2, "C_Sign CKR_OPERATION_NOT_INITIALIZED": 1}
FAILED = {"C_Sign CKR_FUNCTION_FAILED": 1}
NO_ROOM = {"C_SignInit CKR_DEVICE_MEMORY": 1}
VENDORS_OWN = {"C_Sign CKR_VENDOR_DEFINED+0x1": 1}


@pytest.mark.parametrize(
    ("seen", "with_locking", "without", "shared"),
    [
        (loops(WELL, WELL), "conforms", "undefined", "conforms"),
        (loops(WELL, IN_THE_WAY), "violates", "undefined", "conforms"),
        (loops(WELL, FAILED), "violates", "undefined", "undefined"),
        (loops(WELL, VENDORS_OWN), "violates", "undefined", "undefined"),
        (loops(WELL, NO_ROOM), "undefined", "undefined", "undefined"),
        (loops(WELL, WELL, right=False), "violates", "undefined", "undefined"),
        (CRASHED, "violates", "undefined", "undefined"),
        (Seen(), "not-exercised", "not-exercised", "not-exercised"),
    ],
)
def test_what_threads_saw_is_judged_by_what_was_promised(
    seen: Seen, with_locking: str, without: str, shared: str
) -> None:
    lines = ("threads-with-locking", "threads-without-locking", "shared-session")

    assert [judge(line, seen).verdict for line in lines] == [with_locking, without, shared]


def test_what_went_wrong_is_said() -> None:
    assert "1 of 2 signatures are wrong" in judge("threads-with-locking", loops(WELL, WELL, right=False)).seen
    assert "Process died of SIGSEGV in C_Sign. 2 threads; none" in judge("threads-without-locking", CRASHED).seen
    assert judge("threads-without-locking", loops(WELL, FAILED)).seen.startswith("Calls were refused.")
    assert judge("threads-without-locking", loops(WELL, WELL)).seen.startswith("All went well.")


def test_a_module_that_does_not_take_null_is_not_exercised() -> None:
    found = judge("threads-without-locking", Seen(calls=(call("process", "C_Initialize", 0x7),)))

    assert (found.verdict, found.seen) == ("not-exercised", "Process: C_Initialize answered CKR_ARGUMENTS_BAD.")
