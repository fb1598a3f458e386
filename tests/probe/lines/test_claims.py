from __future__ import annotations

from typing import Any

import pytest

from lab.probe.seen import Seen
from tests.probe.made_up import OK, call, calls, died, judge, random, signature

GENERAL_ERROR, NOT_SUPPORTED, NO_RNG, NOT_INITIALIZED, NOT_LOGGED_IN, KEY_TYPE, MECHANISM_INVALID = (
    0x5,
    0x54,
    0x121,
    0x190,
    0x101,
    0x63,
    0x70,
)
RNG, LOGIN_REQUIRED, SIGN, HW, FORK_SAFE = 0x1, 0x4, 0x800, 0x1, 0x1


def interface(version: str, flags: int = 0, name: str = "PKCS 11") -> dict[str, Any]:
    return {"name": name, "version": version, "flags": flags}


@pytest.mark.parametrize(
    ("claimed", "listed", "interfaces", "verdict"),
    [
        ("2.40", "2.40", None, "conforms"),
        ("3.0", "2.40", [interface("2.40"), interface("3.0")], "conforms"),
        ("2.20", "2.1", None, "violates"),
        ("3.0", "2.40", [interface("2.40")], "violates"),
        ("3.0", "3.0", None, "violates"),  # an interface of v3.0 is had by C_GetInterface
    ],
)
def test_versions_are_compared(claimed: str, listed: str, interfaces: list[Any] | None, verdict: str) -> None:
    made = (
        call("process", "C_GetInterfaceList", interfaces=interfaces),
        call("process", "C_GetInfo", cryptoki_version=claimed),
    )

    assert judge("versions", Seen(made, facts={"function list": listed})).verdict == verdict


def test_a_minor_version_is_told_in_hundredths() -> None:
    made = (call("process", "C_GetInfo", cryptoki_version="2.20"),)

    assert "the function list 2.01;" in judge("versions", Seen(made, facts={"function list": "2.1"})).seen


@pytest.mark.parametrize(
    ("flags", "answers", "verdict"),
    [
        (RNG, [OK, OK], "conforms"),
        (RNG, [NOT_LOGGED_IN, OK], "conforms"),
        (0, [NO_RNG, NO_RNG], "conforms"),
        (RNG, [NO_RNG, NO_RNG], "violates"),
        (RNG, [NOT_LOGGED_IN], "not-exercised"),
        (RNG, [NOT_SUPPORTED], "violates"),
        (RNG, [None], "violates"),
        (0, [OK, OK], "undefined"),
    ],
)
def test_a_generator_is_there_where_it_is_claimed(flags: int, answers: list[int | None], verdict: str) -> None:
    made = [call("process", "C_GetTokenInfo", flags=flags), *(call("process", "C_GenerateRandom", a) for a in answers)]

    found = judge("random-as-claimed", Seen(tuple(made), (died("process"),) if None in answers else ()))

    assert found.verdict == verdict
    assert None not in answers or found.seen.endswith("process died of SIGSEGV in C_GenerateRandom.")


@pytest.mark.parametrize(
    ("flags", "private", "found", "verdict"),
    [
        (LOGIN_REQUIRED, True, 0, "conforms"),
        (LOGIN_REQUIRED, True, 1, "violates"),
        (LOGIN_REQUIRED, False, 1, "conforms"),
        (LOGIN_REQUIRED, False, 0, "violates"),
        (0, True, 1, "conforms"),
        (0, True, 0, "violates"),
    ],
)
def test_private_objects_are_there_when_they_should_be(flags: int, private: bool, found: int, verdict: str) -> None:
    made = (
        call("process", "C_GetTokenInfo", flags=flags),
        call("process", "C_FindObjects", when="before login", found=found),
        call("process", "C_GetAttributeValue", private=private),
    )

    assert judge("login-as-claimed", Seen(made)).verdict == verdict


def signing(flags: int = SIGN, most: int = 521, answer: int | None = OK, asked: int = OK, right: bool = True) -> Seen:
    facts = {"min_key": 112, "max_key": most, "flags": flags} if asked == OK else {}
    made = (
        call("process", "C_GetMechanismInfo", asked, mechanism=0x1041, key="ec-p256", **facts),
        call("process", "C_SignInit", answer),
    )
    return Seen(made, outputs=(signature("process", b"r", b"1", right),) if answer == OK else ())


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (signing(), "conforms"),
        (signing(SIGN | HW), "conforms"),
        (signing(most=0), "conforms"),  # some tell no sizes
        (signing(0), "violates"),
        (signing(most=224), "violates"),
        (signing(answer=KEY_TYPE), "violates"),
        (signing(right=False), "violates"),
        (signing(asked=MECHANISM_INVALID), "violates"),
        (signing(0, answer=MECHANISM_INVALID), "conforms"),
        (signing(asked=MECHANISM_INVALID, answer=MECHANISM_INVALID), "conforms"),
        (signing(asked=GENERAL_ERROR, answer=GENERAL_ERROR), "not-exercised"),  # nothing works
        (signing(answer=NOT_LOGGED_IN), "not-exercised"),  # says nothing of the mechanism
        (signing(0, answer=None), "violates"),
        (Seen(), "not-exercised"),
    ],
)
def test_a_mechanism_signs_where_it_is_said_to(seen: Seen, verdict: str) -> None:
    assert judge("mechanism-as-claimed", seen).verdict == verdict


def test_where_the_mechanism_is_done_is_told() -> None:
    assert "done in hardware (CKF_HW)" in judge("mechanism-as-claimed", signing(SIGN | HW)).seen
    assert "done in software (no CKF_HW), keys of 112 to 521" in judge("mechanism-as-claimed", signing()).seen


def claiming(*interfaces: dict[str, Any]) -> Seen:
    return Seen((call("process", "C_GetInterfaceList", interfaces=list(interfaces)),))


DREW = (*calls("child", "C_GenerateRandom", [OK, OK]), *calls("child", "C_SignInit", [OK, OK]))
DIFFERENT = (random("child 1", b"a"), random("child 2", b"b"))


@pytest.mark.parametrize(
    ("children", "verdict", "told"),
    [
        (Seen(DREW, outputs=DIFFERENT), "conforms", "children drew and signed"),
        (Seen(DREW, outputs=(random("child 1", b"a"), random("child 2", b"a"))), "violates", "random numbers"),
        (
            Seen(DREW, outputs=(signature("child 1", b"r", b"1"), signature("child 2", b"r", b"2"))),
            "violates",
            "nonces",
        ),
        (Seen(DREW, outputs=(signature("child 1", b"r", b"1", False),)), "violates", "child 1 signed wrongly"),
        (
            Seen(tuple(calls("child", "C_GenerateRandom", [OK, NOT_INITIALIZED]))),
            "violates",
            "child 2 got CKR_CRYPTOKI_NOT_INITIALIZED from C_GenerateRandom",
        ),
        (
            Seen(tuple(calls("child", "C_GenerateRandom", [None])), (died("child 1"),)),
            "violates",
            "child 1 died of SIGSEGV in C_GenerateRandom",
        ),
        (Seen(), "not-exercised", "not reached"),
    ],
)
def test_an_interface_that_claims_to_be_fork_safe_is_held_to_it(children: Seen, verdict: str, told: str) -> None:
    found = judge("fork-safe-as-claimed", claiming(interface("3.0", FORK_SAFE), interface("2.40")), children)

    assert found.verdict == verdict
    assert told in found.seen


def test_who_claims_nothing_is_held_to_nothing() -> None:
    older = Seen((call("process", "C_GetInterfaceList", interfaces=None),))

    for seen in (older, claiming(interface("3.0"))):
        assert judge("fork-safe-as-claimed", seen, Seen(DREW)).verdict == "not-exercised"
