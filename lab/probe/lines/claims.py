"""Judges of what a module claims: each claim against the calls that show whether it is so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from lab.probe.line import Judgement, Line
from lab.probe.lines.answers import OK
from lab.probe.lines.endings import badly_ended, how_they_ended, not_ready
from lab.probe.repeats import repeated_nonces, repeated_random
from lab.probe.seen import Call, Seen
from lab.record.names import MECHANISM, ckr_name

_NOT_LOGGED_IN: Final = 0x101
_NO_MECHANISM: Final = frozenset({0x54, 0x62, 0x63, 0x70, 0x71})
"""CKR_FUNCTION_NOT_SUPPORTED, CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT, CKR_MECHANISM_INVALID and _PARAM_INVALID:
answers that say something of the mechanism. Others may have reasons of the key's or the token's own."""
_CKF_RNG: Final = 0x1
_CKF_LOGIN_REQUIRED: Final = 0x4
_CKF_HW: Final = 0x1
_CKF_SIGN: Final = 0x800
_CKF_INTERFACE_FORK_SAFE: Final = 0x1
_MECHANISM_NAME: Final = {number: name for name, number in MECHANISM.items()}


def versions(seen: Seen) -> Judgement:
    """C_GetInfo's cryptokiVersion is that of the function list, or of one of the interfaces."""
    info = _facts(seen, "C_GetInfo")
    if info is None:
        return not_ready(seen, "process")
    claimed, listed = info["cryptoki_version"], seen.facts.get("function list", "")
    interfaces = _interfaces(seen)
    offered = ", ".join(f"{each['name']} {_hundredths(each['version'])}" for each in interfaces or ())
    told = f"C_GetInfo says {_hundredths(claimed)}, the function list {_hundredths(listed)}"
    told += f", C_GetInterfaceList {offered}." if offered else "; there is no C_GetInterfaceList."
    known = {listed, *(each["version"] for each in interfaces or ())}
    if claimed not in known:
        return Judgement("violates", told)
    if claimed.split(".")[0] != "2" and interfaces is None:
        return Judgement("violates", told)
    return Judgement("conforms", told)


def random_as_claimed(seen: Seen) -> Judgement:
    """CKF_RNG against C_GenerateRandom."""
    token, calls = _facts(seen, "C_GetTokenInfo"), seen.of("process", "C_GenerateRandom")
    if token is None or not calls:
        return not_ready(seen, "process")
    claimed = bool(token["flags"] & _CKF_RNG)
    answers = [call.ckr for call in calls]  # before C_Login, and after it
    names = " and, after C_Login, ".join("no answer" if ckr is None else ckr_name(ckr) for ckr in answers)
    told = f"CKF_RNG is {'set' if claimed else 'not set'}; C_GenerateRandom answered {names}."
    if None in answers:
        return Judgement("violates", f"{told} {how_they_ended(seen, badly_ended(seen, 'process'))}.")
    works = OK in answers
    if not works and claimed and _NOT_LOGGED_IN in answers[-1:]:
        return Judgement("not-exercised", told)  # C_Login was refused
    if works == claimed:
        return Judgement("conforms", told)
    return Judgement("violates" if claimed else "undefined", told)


def login_as_claimed(seen: Seen) -> Judgement:
    """CKF_LOGIN_REQUIRED and CKA_PRIVATE against what is found before C_Login."""
    token = _facts(seen, "C_GetTokenInfo")
    before = next((c for c in seen.of("process", "C_FindObjects") if c.facts.get("when")), None)
    private = _facts(seen, "C_GetAttributeValue")
    if token is None or before is None or before.ckr is None or private is None:
        return not_ready(seen, "process", "C_FindObjects", "C_GenerateRandom")
    required = bool(token["flags"] & _CKF_LOGIN_REQUIRED)
    found = bool(before.facts.get("found"))
    how = "found the key" if found else f"did not find the key ({ckr_name(before.ckr)})"
    told = (
        f"CKF_LOGIN_REQUIRED is {'set' if required else 'not set'}; the key's CKA_PRIVATE is "
        f"{'true' if private['private'] else 'false'}; C_FindObjects before C_Login {how}."
    )
    if required and private["private"] and found:
        return Judgement("violates", told)
    if not found and not (required and private["private"]):
        return Judgement("violates", told)
    return Judgement("conforms", told)


def mechanism_as_claimed(seen: Seen) -> Judgement:
    """C_GetMechanismInfo against a signature."""
    asked = next(iter(seen.of("process", "C_GetMechanismInfo")), None)
    signing = [call for name in ("C_SignInit", "C_Sign") for call in seen.of("process", name)]
    if asked is None or not signing:
        return not_ready(seen, "process", "C_GetMechanismInfo", "C_FindObjects", "C_GenerateRandom")
    name = f"CKM_{_MECHANISM_NAME.get(asked.facts['mechanism'], hex(asked.facts['mechanism']))}"
    bad = next((call for call in signing if call.ckr != OK), None)
    wrong = any(one.right is False for one in seen.outputs if one.data)
    outcome = "worked" if bad is None else f"gave {_answer(bad)} ({bad.name})"
    if bad is None and wrong:
        outcome = "gave a wrong signature"
    speaks = bad is None or bad.ckr in _NO_MECHANISM
    if asked.ckr != OK:
        told = f"C_GetMechanismInfo of {name} answered {_answer(asked)}; signing {outcome}."
        if bad is None or asked.ckr is None:
            return Judgement("violates", told)
        return Judgement("conforms" if speaks and asked.ckr in _NO_MECHANISM else "not-exercised", told)
    facts = asked.facts
    claims, bits = bool(facts["flags"] & _CKF_SIGN), int(re.sub(r"\D", "", facts["key"]))
    where = "in hardware (CKF_HW)" if facts["flags"] & _CKF_HW else "in software (no CKF_HW)"
    told = (
        f"{name}: CKF_SIGN is {'set' if claims else 'not set'}, done {where}, keys of {facts['min_key']} to "
        f"{facts['max_key']}; signing with {facts['key']} {outcome}."
    )
    fits = not facts["max_key"] or facts["min_key"] <= bits <= facts["max_key"]
    if bad is not None and bad.ckr is None:
        return Judgement("violates", told)
    if not speaks:
        return Judgement("not-exercised", told)
    right = bad is None and not wrong
    return Judgement("conforms" if right == (claims and fits) else "violates", told)


def fork_safe_as_claimed(seen: Seen, children: Seen) -> Judgement:
    """CKF_INTERFACE_FORK_SAFE against children that go on with what their parent left them."""
    asked = seen.of("process", "C_GetInterfaceList")
    if not asked:
        return not_ready(seen, "process")
    interfaces = _interfaces(seen)
    if interfaces is None:
        return Judgement("not-exercised", "There is no C_GetInterfaceList, so nothing is claimed.")
    safe = [each for each in interfaces if each["flags"] & _CKF_INTERFACE_FORK_SAFE]
    if not safe:
        return Judgement("not-exercised", f"None of {len(interfaces)} interfaces claims CKF_INTERFACE_FORK_SAFE.")
    told = f"{_and(each['name'] + ' ' + each['version'] for each in safe)} claim CKF_INTERFACE_FORK_SAFE"
    calls = [call for call in children.calls if call.who.startswith("child")]
    if not calls:
        return not_ready(children, "parent")
    if ends := badly_ended(children, "child"):
        return Judgement("violates", f"{told}, but {how_they_ended(children, ends[:1])}.")
    if bad := next((call for call in calls if call.ckr != OK), None):
        return Judgement("violates", f"{told}, but {bad.who} got {_answer(bad)} from {bad.name}.")
    if wrong := next((one for one in children.outputs if one.right is False), None):
        return Judgement("violates", f"{told}, but {wrong.who} signed wrongly.")
    if repeated_nonces(children.outputs):
        return Judgement("violates", f"{told}, but children repeat each other's nonces.")
    if repeated_random(children.outputs):
        return Judgement("violates", f"{told}, but children repeat each other's random numbers.")
    return Judgement("conforms", f"{told}, and children drew and signed with what their parent left them.")


def _hundredths(version: str) -> str:
    """2.1 is the first hundredth, 2.01, and no 2.10 (CK_VERSION)."""
    major, _, minor = version.partition(".")
    return f"{major}.0{minor}" if len(minor) == 1 and minor != "0" else version


def _and(names: Any) -> str:
    return " and ".join(names)


def _answer(call: Call) -> str:
    return "no answer" if call.ckr is None else ckr_name(call.ckr)


def _facts(seen: Seen, name: str) -> Mapping[str, Any] | None:
    """What the first call of that name told; None where it was not made or did not succeed."""
    return next((call.facts for call in seen.of("process", name) if call.ckr == OK), None)


def _interfaces(seen: Seen) -> list[Mapping[str, Any]] | None:
    found: list[Mapping[str, Any]] | None = (_facts(seen, "C_GetInterfaceList") or {}).get("interfaces")
    return found


LINES: Final = (
    Line(
        "versions",
        "claims",
        "the version that is claimed",
        "cryptokiVersion is the version of the interface that the library has, as its function list says, too.",
        "PKCS #11 v2.40 base, 3.1 (CK_INFO), 3.6 (CK_FUNCTION_LIST); v3.0 base, 3.6 (CK_INTERFACE)",
        "claims",
        versions,
    ),
    Line(
        "random-as-claimed",
        "claims",
        "CKF_RNG",
        "Set where the token has its own random number generator; without one C_GenerateRandom answers "
        "CKR_RANDOM_NO_RNG.",
        "PKCS #11 v2.40 base, 3.2 (CK_TOKEN_INFO), 5.15",
        "claims",
        random_as_claimed,
    ),
    Line(
        "login-as-claimed",
        "claims",
        "CKF_LOGIN_REQUIRED",
        "Set where something can only be done by a user who has logged in; an object with CKA_PRIVATE is not there "
        "before that.",
        "PKCS #11 v2.40 base, 3.2 (CK_TOKEN_INFO), 4.4 (CKA_PRIVATE)",
        "claims",
        login_as_claimed,
        needs_key=True,
    ),
    Line(
        "mechanism-as-claimed",
        "claims",
        "C_GetMechanismInfo",
        "CKF_SIGN is set where the mechanism can be used with C_SignInit, for keys of ulMinKeySize to ulMaxKeySize.",
        "PKCS #11 v2.40 base, 3.5 (CK_MECHANISM_INFO)",
        "claims",
        mechanism_as_claimed,
        needs_key=True,
    ),
    Line(
        "fork-safe-as-claimed",
        "claims",
        "CKF_INTERFACE_FORK_SAFE",
        "An interface with this flag has fork tolerant semantics: a child goes on with copies of sessions and login.",
        "PKCS #11 v3.0 base, 3.6 (CK_INTERFACE), 5.4 (C_GetInterfaceList)",
        "claims",
        fork_safe_as_claimed,
        also=("draws-without-initialize",),
    ),
)
