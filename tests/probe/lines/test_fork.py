"""The judges of the lines about forks, on made-up sights: each verdict that each of them can give."""

from __future__ import annotations

import pytest

from lab.probe.line import NOT_SEEN, Judgement, Line, Verdict, explained, judged
from lab.probe.lines import LINES
from lab.probe.seen import End, Output, Seen
from tests.probe.lines.forks_made_up import (
    ALREADY_INITIALIZED,
    BUSY_CHILD,
    BUSY_SIGNED,
    CHILD,
    CRASH,
    DEVICE_ERROR,
    GRAND,
    GRAND_WORKED,
    HANG,
    IN_BOTH,
    INVALID,
    LOGGED_IN,
    NOT_INITIALIZED,
    OLD,
    SIGNS,
    SOCKET,
    STATE,
    THREAD,
    WORKED,
    Made,
    looked_after,
    seen,
    signature,
)

BY_NAME: dict[str, Line] = {line.name: line for line in LINES}
CASES: list[tuple[str, Seen, Verdict, str]] = [
    ("child-without-initialize", seen(("child (a)", "C_GetInfo", NOT_INITIALIZED)), "conforms", "1 call of a child"),
    ("child-without-initialize", seen(("child (a)", "C_GetInfo", 0)), "undefined", "C_GetInfo: CKR_OK"),
    (
        "child-without-initialize",
        seen(("child (a)", "C_Sign", None), ends=(End("child (a)", 1, "hang"),)),
        "undefined",
        "C_Sign: hung",
    ),
    (
        "child-without-initialize",
        seen(("child (a)", "C_Sign", 0), outputs=(signature("child (a)", 1, b"a", False),)),
        "undefined",
        "signature is wrong",
    ),
    ("child-without-initialize", seen(), "not-exercised", "Nothing was seen"),
    ("child-initialize", seen(CHILD), "conforms", "CKR_OK"),
    ("child-initialize", seen(("child", "C_Initialize", ALREADY_INITIALIZED)), "violates", "ALREADY_INITIALIZED"),
    ("child-initialize", seen(("child", "C_Initialize", None), ends=(CRASH,)), "violates", "SIGSEGV in C_Initialize"),
    ("child-initialize", seen(), "not-exercised", "Nothing"),
    ("child-login-state", seen(CHILD, STATE, ("child", "C_Login", 0)), "conforms", "not logged in"),
    ("child-login-state", seen(CHILD, STATE, ("child", "C_Login", LOGGED_IN)), "violates", "ALREADY_LOGGED_IN"),
    ("child-login-state", seen(CHILD, STATE, ("child", "C_Login", DEVICE_ERROR)), "violates", "CKR_DEVICE_ERROR"),
    (
        "child-login-state",
        seen(CHILD, ("child", "C_GetSessionInfo", 0, {"logged_in": True})),
        "violates",
        "before any C_Login",
    ),
    ("child-login-state", seen(CHILD, ("child", "C_GetSessionInfo", 0x30)), "not-exercised", "CKR_DEVICE_ERROR"),
    ("child-login-state", seen(CHILD), "not-exercised", "Nothing"),
    ("child-login-state", seen(("parent", "C_Login", 0xA0), CHILD, STATE), "not-exercised", "CKR_PIN_INCORRECT"),
    (
        "child-login-state",
        seen(("child", "C_Initialize", ALREADY_INITIALIZED), ("child", "C_GetSessionInfo", 0, {"logged_in": True})),
        "violates",
        "C_Initialize had answered CKR_CRYPTOKI_ALREADY_INITIALIZED.",
    ),
    ("child-old-handles", seen(OLD, (*OLD[:1], "C_SignInit", INVALID)), "conforms", "HANDLE_INVALID"),
    ("child-old-handles", seen(OLD, (*OLD[:1], "C_SignInit", 0)), "violates", "C_SignInit"),
    ("child-old-handles", seen(OLD, (*OLD[:1], "C_SignInit", None)), "violates", "C_SignInit of the child"),
    (
        "child-old-handles",
        seen(OLD, (*OLD[:1], "C_SignInit", None), ends=(End(OLD[0], 1, "hang"),)),
        "violates",
        "child with old handles hung in C_SignInit",
    ),
    ("child-old-handles", seen((*OLD[:2], DEVICE_ERROR), (*OLD[:1], "C_SignInit", 0)), "not-exercised", "Nothing"),
    (
        "child-session-objects",
        seen(
            ("parent", "C_CreateObject", 0), CHILD, ("child", "C_FindObjects", 0, {"session_objects_of_the_parent": 1})
        ),
        "violates",
        "found",
    ),
    (
        "child-session-objects",
        seen(
            ("parent", "C_CreateObject", 0), CHILD, ("child", "C_FindObjects", 0, {"session_objects_of_the_parent": 0})
        ),
        "conforms",
        "did not find",
    ),
    ("child-session-objects", seen(CHILD), "not-exercised", "may not be made"),
    ("child-session-objects", seen(("parent", "C_CreateObject", DEVICE_ERROR)), "not-exercised", "CKR_DEVICE_ERROR"),
    ("parent-after-child-finalize", seen(*looked_after("finalize")), "conforms", "After finalize"),
    ("parent-after-child-finalize", seen(*looked_after("finalize", NOT_INITIALIZED)), "undefined", "NOT_INITIALIZED"),
    ("parent-after-child-exit", seen(*looked_after("exit")), "conforms", "After exit"),
    ("parent-after-child-exit", seen(*looked_after("exit")), "conforms", "were there and logged in."),
    (
        "parent-after-child-exit",
        seen(*looked_after("exit"), ("parent after (exit)", "C_Sign", 0)),
        "conforms",
        "logged in, and it signed.",
    ),
    (
        "parent-after-child-exit",
        seen(
            ("child (work, exit)", "C_Initialize", ALREADY_INITIALIZED),
            *looked_after("work, exit", DEVICE_ERROR),
            *looked_after("exit"),
        ),
        "violates",
        "(the child's C_Initialize had answered CKR_CRYPTOKI_ALREADY_INITIALIZED); unharmed after exit",
    ),
    (
        "parent-after-child-exit",
        seen(("child (work, exit)", "C_Login", DEVICE_ERROR), *looked_after("work, exit")),
        "not-exercised",
        "C_Login answered CKR_DEVICE_ERROR",
    ),
    (
        "parent-after-child-crash",
        seen(
            *looked_after("SIGKILL"),
            ("child (SIGKILL)", "C_Sign", None),
            ends=(End("child (SIGKILL)", 1, "signal", 9),),
        ),
        "conforms",
        "After SIGKILL of a child",
    ),
    (
        "parent-after-child-crash",
        seen(
            *looked_after("SIGKILL"),
            ("child (SIGKILL)", "C_Login", DEVICE_ERROR),
            ends=(End("child (SIGKILL)", 1, "exit"),),
        ),
        "not-exercised",
        "C_Login answered CKR_DEVICE_ERROR",
    ),
    (
        "parent-after-child-crash",
        seen(
            *looked_after("SIGKILL"),
            ("child (SIGKILL)", "C_Login", None),
            ends=(End("child (SIGKILL)", 1, "signal", 11),),
        ),
        "not-exercised",
        "died of SIGSEGV in C_Login",
    ),
    ("parent-after-child-exit", seen(*looked_after("exit", DEVICE_ERROR)), "violates", "CKR_DEVICE_ERROR"),
    ("parent-after-child-exit", seen(*looked_after("exit", 0, False)), "violates", "no longer logged in"),
    (
        "parent-after-child-exit",
        seen(*looked_after("exit"), outputs=(signature("parent after (exit)", 1, b"a", False),)),
        "violates",
        "signature is wrong",
    ),
    (
        "parent-after-child-exit",
        seen(*looked_after("exit", None), ends=(End("parent (exit)", 1, "hang"),)),
        "violates",
        "parent (exit) hung",
    ),
    (
        "parent-after-child-exit",
        seen(
            ("child (exit)", "C_Sign", 0),
            ends=(End("child (exit)", 1, "exit"), End("parent (exit)", 1, "signal", 9)),
        ),
        "violates",
        "parent (exit) died of SIGKILL",
    ),
    ("parent-after-child-exit", seen(), "not-exercised", "Nothing"),
    ("parent-after-child-crash", seen(*looked_after("SIGKILL", DEVICE_ERROR)), "violates", "SIGKILL"),
    ("parent-after-initialize-finalize", seen(*looked_after("initialize, finalize", 0x101)), "violates", "C_SignInit"),
    (
        "child-works-beside",
        seen(SIGNS, *WORKED, *looked_after("beside"), outputs=(signature("child (beside)", 1, b"a"),)),
        "conforms",
        "signed 9 times",
    ),
    ("child-works-beside", seen(SIGNS, *WORKED, *looked_after("beside")), "violates", "no signature"),
    (
        "child-works-beside",
        seen(
            SIGNS,
            ("child (beside)", "C_Initialize", ALREADY_INITIALIZED),
            outputs=(signature("child (beside)", 1, b"a"),),
        ),
        "undefined",
        "no context of its own",
    ),
    (
        "child-works-beside",
        seen(SIGNS, *WORKED, outputs=(signature("child (beside)", 1, b"a", False),)),
        "violates",
        "signature is wrong",
    ),
    (
        "child-works-beside",
        seen(
            SIGNS,
            *WORKED,
            outputs=(signature("child (beside)", 1, b"a"), signature("parent (beside)", 2, b"b", False)),
        ),
        "violates",
        "a signature of the parent is wrong",
    ),
    ("child-works-beside", seen(SIGNS), "not-exercised", "Nothing"),
    (
        "child-reload",
        seen(
            ("child (reload)", "C_Finalize", NOT_INITIALIZED),
            ("child (reload)", "C_Sign", 0),
            outputs=(signature("child (reload)", 1, b"a"),),
        ),
        "conforms",
        "unharmed",
    ),
    (
        "child-reload",
        seen(("child (reload)", "C_Finalize", 0), ("child (reload)", "C_Login", DEVICE_ERROR)),
        "undefined",
        "CKR_DEVICE_ERROR",
    ),
    (
        "grandchild-of-initialized",
        seen(*GRAND_WORKED, outputs=(signature(GRAND, 1, b"a"),)),
        "conforms",
        "initialised, logged in and signed",
    ),
    (
        "grandchild-of-initialized",
        seen((GRAND, "C_Initialize", ALREADY_INITIALIZED), outputs=(signature(GRAND, 1, b"a"),)),
        "violates",
        "ALREADY_INITIALIZED",
    ),
    (
        "grandchild-of-initialized",
        seen(
            *GRAND_WORKED,
            ("child after (child has initialised)", "C_SignInit", DEVICE_ERROR),
            outputs=(signature(GRAND, 1, b"a"),),
        ),
        "violates",
        "child after",
    ),
    (
        "operation-in-both",
        seen(*IN_BOTH, outputs=(signature("child", 7, b"a"), signature("parent after", 7, b"b"))),
        "violates",
        "same nonce",
    ),
    (
        "operation-in-both",
        seen(*IN_BOTH, outputs=(signature("child", 7, b"a"), signature("parent after", 8, b"b"))),
        "undefined",
        "the signature is right; of the parent: CKR_OK",
    ),
    (
        "operation-in-both",
        seen(*IN_BOTH, outputs=(signature("child", 7, b"a", False), signature("parent after", 7, b"b"))),
        "undefined",
        "the signature is wrong",
    ),
    (
        "operation-in-both",
        seen(
            ("child", "C_Sign", NOT_INITIALIZED),
            ("parent after", "C_Sign", 0),
            outputs=(signature("parent after", 7, b"b"),),
        ),
        "conforms",
        "CKR_CRYPTOKI_NOT_INITIALIZED",
    ),
    (
        "operation-in-both",
        seen(("child", "C_Sign", NOT_INITIALIZED), ("parent after", "C_Sign", DEVICE_ERROR)),
        "undefined",
        "CKR_DEVICE_ERROR",
    ),
    ("fork-while-busy", seen(THREAD, BUSY_CHILD, outputs=(BUSY_SIGNED,)), "conforms", "1 of 1 children worked"),
    (
        "fork-while-busy",
        seen(
            THREAD,
            BUSY_CHILD,
            ("child 1", "C_Login", None),
            ends=(End("child 1", 1, "hang"),),
            outputs=(BUSY_SIGNED,),
        ),
        "undefined",
        "1 of 2 children worked; 1 hung; for instance child 1 hung in C_Login",
    ),
    (
        "fork-while-busy",
        seen(THREAD, BUSY_CHILD, outputs=(signature("child 0", 1, b"a", False),)),
        "violates",
        "its signature is wrong",
    ),
    (
        "fork-while-busy",
        seen(("thread 0", "C_Sign", DEVICE_ERROR, {"times": 9}), BUSY_CHILD, outputs=(BUSY_SIGNED,)),
        "violates",
        "thread 0 of the parent: CKR_DEVICE_ERROR",
    ),
    ("fork-while-busy", seen(("thread 0", "C_Sign", 0x30), BUSY_CHILD), "not-exercised", "could not sign"),
    ("fork-while-busy", seen(THREAD), "not-exercised", "Nothing"),
    ("shared-descriptors", seen(**{"child has": []}), "conforms", "nothing open"),
    (
        "shared-descriptors",
        seen(**{"opened 5": SOCKET, "child has": ["5"], "child has after its C_Initialize": ["5"]}),
        "undefined",
        "one connection",
    ),
    (
        "shared-descriptors",
        seen(**{"opened 5": SOCKET, "child has": ["5"], "child has after its C_Initialize": []}),
        "undefined",
        "none is the same any more",
    ),
    ("shared-descriptors", seen(), "not-exercised", "Nothing"),
]


@pytest.mark.parametrize(("name", "saw", "verdict", "words"), CASES, ids=[f"{c[0]}: {c[2]}, {c[3]}" for c in CASES])
def test_a_judge_gives_its_verdict_and_says_what_was_seen(name: str, saw: Seen, verdict: Verdict, words: str) -> None:
    judgement = judged(BY_NAME[name], *[saw] * (1 + len(BY_NAME[name].also)))

    assert judgement.verdict == verdict
    assert words in judgement.seen


INHERITS: list[tuple[str, tuple[Made, ...], tuple[Output, ...]]] = [
    ("child-initialize", (("child", "C_Initialize", ALREADY_INITIALIZED),), ()),
    ("child-login-state", (CHILD, ("child", "C_GetSessionInfo", 0, {"logged_in": True})), ()),
    ("child-old-handles", (OLD, ("child with old handles", "C_SignInit", 0)), ()),
    (
        "child-session-objects",
        (("parent", "C_CreateObject", 0), CHILD, ("child", "C_FindObjects", 0, {"session_objects_of_the_parent": 1})),
        (),
    ),
    ("grandchild-of-initialized", ((GRAND, "C_Initialize", ALREADY_INITIALIZED),), (signature(GRAND, 1, b"a"),)),
]


@pytest.mark.parametrize(("name", "made", "outputs"), INHERITS, ids=[each[0] for each in INHERITS])
def test_who_claims_to_hand_on_copies_violates_nothing_by_it(
    name: str, made: tuple[Made, ...], outputs: tuple[Output, ...]
) -> None:
    def claims(version: str, flags: int) -> Seen:
        offered = [{"name": "PKCS 11", "version": version, "flags": flags}]
        return seen(("process", "C_GetInterfaceList", 0, {"interfaces": offered}), **{"function list": "2.40"})

    def verdict(claimed: Seen) -> Verdict:
        return judged(BY_NAME[name], seen(*made, outputs=outputs), claimed).verdict

    assert verdict(claims("2.40", 1)) == "undefined"
    assert {verdict(claims("2.40", 0)), verdict(claims("3.0", 1)), verdict(seen())} == {"violates"}


def test_what_was_not_reached_has_its_reason() -> None:
    refused = seen(("parent", "C_Login", 0xA4))
    cut = Seen(cut_off="crashed with SIGSEGV in C_Initialize")

    assert explained(NOT_SEEN, refused).seen == "Not reached: C_Login of the parent answered CKR_PIN_LOCKED."
    assert explained(NOT_SEEN, cut).seen == "Not reached: the process crashed with SIGSEGV in C_Initialize."
    hung = seen(CHILD, ("child", "C_OpenSession", None), ends=(HANG,))

    assert explained(NOT_SEEN, hung).seen == "Not reached: child hung in C_OpenSession."
    assert explained(NOT_SEEN, seen()) == NOT_SEEN
    assert explained(Judgement("conforms", "x"), cut).verdict == "conforms"


def test_a_judge_that_fails_is_no_conformance() -> None:
    broken = seen(CHILD, ("child", "C_GetSessionInfo", 0))  # without the fact

    assert judged(BY_NAME["child-login-state"], broken).verdict == "not-exercised"
