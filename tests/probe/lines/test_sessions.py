from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.probe.seen import Call, End, Seen
from tests.probe.made_up import OK, call, died, hung, judge

DEVICE_ERROR, DEVICE_MEMORY, SESSION_CLOSED, SESSION_COUNT, HANDLE_INVALID = 0x30, 0x31, 0xB0, 0xB1, 0xB3


def opening(count: int, ckr: int | None, most: int | None = None, **facts: Any) -> Seen:
    """A process that got so many sessions, and this answer to the last attempt; `most` is ulMaxSessionCount."""
    return Seen(
        calls=(
            call("process", "C_GetTokenInfo", sessions=0, most=most, open=0),
            call("process", "C_OpenSession", ckr, again=False),
        ),
        facts={"process has sessions": count, **facts},
        ends=(died("process"),) if ckr is None else (),
    )


@pytest.mark.parametrize(
    ("ckr", "verdict"),
    [
        (SESSION_COUNT, "conforms"),
        (DEVICE_MEMORY, "undefined"),
        (DEVICE_ERROR, "violates"),
        (OK, "not-exercised"),
        (None, "violates"),
    ],
)
def test_the_answer_at_the_limit(ckr: int | None, verdict: str) -> None:
    assert judge("session-limit", opening(5, ckr)).verdict == verdict


def test_the_limit_and_its_answer_are_told() -> None:
    assert judge("session-limit", opening(5, SESSION_COUNT)).seen == (
        "After 5 sessions C_OpenSession answered CKR_SESSION_COUNT."
    )


@pytest.mark.parametrize(
    ("count", "ckr", "most", "verdict"),
    [
        (5, SESSION_COUNT, 5, "conforms"),
        (5, SESSION_COUNT, 8, "undefined"),  # a maximum is no promise
        (9, OK, 8, "violates"),
        (5, OK, 8, "not-exercised"),
        (5, OK, None, "conforms"),
        (5, SESSION_COUNT, None, "undefined"),
        (5, None, 8, "not-exercised"),
    ],
)
def test_the_limit_against_what_is_claimed(count: int, ckr: int | None, most: int | None, verdict: str) -> None:
    assert judge("session-limit-claimed", opening(count, ckr, most)).verdict == verdict


@pytest.mark.parametrize(
    ("told", "verdict"), [((0, 3, 2), "conforms"), ((0, 3, 3), "violates"), ((None, None, None), "not-exercised")]
)
def test_what_is_counted_against_what_is_open(told: tuple[int | None, ...], verdict: str) -> None:
    asked = [
        call("process", "C_GetTokenInfo", sessions=sessions, open=is_open)
        for sessions, is_open in zip(told, (0, 3, 2), strict=True)
    ]

    found = judge("session-count", Seen(calls=tuple(asked)))

    assert found.verdict == verdict
    assert verdict == "not-exercised" or found.seen.startswith("ulSessionCount: 0 with 0 open, 3 with 3 open")


def closing(old: int | None, again: int, closed: int | None = OK, last: int = OK) -> Seen:
    made: list[Call] = [
        call("process", "C_OpenSession", again=False),
        call("process", "C_CloseAllSessions", closed),
        call("process", "C_GetSessionInfo", old),
        call("process", "C_OpenSession", last, again=True),
    ]
    return Seen(calls=tuple(made), facts={"process has sessions": 3, "process has again": again})


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (closing(HANDLE_INVALID, 3), "conforms"),
        (closing(SESSION_CLOSED, 3), "conforms"),
        (closing(OK, 3), "violates"),
        (closing(HANDLE_INVALID, 2, last=SESSION_COUNT), "violates"),
        (closing(HANDLE_INVALID, 2), "conforms"),  # there was no time for the third
        (closing(HANDLE_INVALID, 3, closed=DEVICE_ERROR), "violates"),
        (closing(HANDLE_INVALID, 3, closed=None), "violates"),
        (Seen(), "not-exercised"),
    ],
)
def test_sessions_that_are_closed_are_gone_and_can_be_had_again(seen: Seen, verdict: str) -> None:
    assert judge("close-all-sessions", seen).verdict == verdict


def succeeding(opened: int | None, counted: int | None = None, ckr: int | None = OK) -> Seen:
    facts = {"holder has sessions": 4} | ({} if opened is None else {"successor has sessions": opened})
    made = (
        call("successor", "C_Initialize", ckr, 2),
        call("successor", "C_GetTokenInfo", pid=2, sessions=counted, open=0),
    )
    return Seen(calls=made, facts=facts, ends=(died("holder", 9),))


@pytest.mark.parametrize(
    ("seen", "verdict", "told"),
    [
        (succeeding(4), "conforms", "A process with 4 sessions was killed; the next one could open 4."),
        (succeeding(4, 0), "conforms", "ulSessionCount said 0."),
        (succeeding(4, 4), "violates", "ulSessionCount said 4."),
        (succeeding(1), "undefined", "it was waited for 1 s."),
        (succeeding(None, ckr=DEVICE_ERROR), "violates", "C_Initialize answered CKR_DEVICE_ERROR."),
    ],
)
def test_what_a_dead_process_had_is_given_back(seen: Seen, verdict: str, told: str) -> None:
    found = judge("sessions-after-death", seen)

    assert found.verdict == verdict
    assert told in found.seen


def test_a_slow_successor_is_no_poor_one() -> None:
    seen = succeeding(1)

    found = judge("sessions-after-death", replace(seen, facts={**seen.facts, "successor was slow": True}))

    assert (found.verdict, found.seen.endswith("There was no time for more.")) == ("conforms", True)


def test_a_successor_that_hangs_violates() -> None:
    waiting = (call("successor", "C_Initialize", None, 2),)

    found = judge("sessions-after-death", Seen(waiting, (hung("successor", 2),), {"holder has sessions": 4}))

    assert found.verdict == "violates"
    assert found.seen == "A process with 4 sessions was killed; then successor hung in C_Initialize."


def test_a_failure_of_the_lab_is_no_violation() -> None:
    made = (call("successor", "C_GetTokenInfo", None, 2),)

    found = judge("sessions-after-death", Seen(made, (End("successor", 2, "exit", 70),), {"holder has sessions": 4}))

    assert found.verdict == "not-exercised"


def test_where_nobody_held_a_session_there_is_nothing_to_give_back() -> None:
    assert judge("sessions-after-death", Seen(calls=(call("holder", "C_Initialize", 0x6),))).seen == (
        "Holder: C_Initialize answered CKR_FUNCTION_FAILED."
    )
