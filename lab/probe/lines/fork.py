"""Judges of what a forked child finds, without C_Initialize and after its own."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from lab.probe.line import NOT_SEEN, Judgement, Line
from lab.probe.lines.answers import (
    ALREADY_INITIALIZED,
    NOT_INITIALIZED,
    OK,
    USER_ALREADY_LOGGED_IN,
    answer,
    calls,
    hands_on,
    listed,
    told_before,
)
from lab.probe.lines.endings import harm
from lab.probe.seen import Call, Seen, death
from lab.record.names import ckr_name

APPLICATIONS: Final = "PKCS #11 v2.20, 6.6.1 Applications and processes (v2.40: usage guide)"
OWNERS: Final = "PKCS #11 v2.20, 6.7 Sessions, 6.7.3 (v2.40: usage guide)"


HANDED_ON: Final = (
    "By CKF_INTERFACE_FORK_SAFE, which the interface claims, a child has copies of its parent's sessions and login."
)
NOT_ALLOWED: Final = Judgement("not-exercised", "It takes a session object, which may not be made on this token.")


def calls_without_initialize(seen: Seen) -> Judgement:
    """The answer that the standard calls ideal conforms; it leaves any other open."""
    children = list(dict.fromkeys(call.who for call in seen.calls if call.who.startswith("child (")))
    if not children:
        return NOT_SEEN
    last = [seen.of(child)[-1] for child in children]
    if {call.ckr for call in last} == {NOT_INITIALIZED}:
        return Judgement("conforms", f"Each of {calls(len(last))} of a child answered CKR_CRYPTOKI_NOT_INITIALIZED.")
    groups: dict[str, list[str]] = defaultdict(list)
    for child, call in zip(children, last, strict=True):
        groups[answer(call) if call.ckr is not None else death(seen, child).removeprefix(child).strip()].append(
            call.name
        )
    said = "; ".join(f"{listed(names)}: {how or 'never returned'}" for how, names in groups.items())
    wrong = any(output.right is False for output in seen.outputs if output.who in children)
    return Judgement("undefined", f"In a child {said}." + (" The child's signature is wrong." if wrong else ""))


def parent_after_uses(seen: Seen, ends: Seen) -> Judgement:
    """A child used what it inherited: the standard leaves open what comes of it, so harm is no violation."""
    scenes = [call.who[len("parent (") : -1] for call in seen.calls if call.who.startswith("parent (")]
    found = {scene: harm(seen, scene) for scene in dict.fromkeys(scenes)}
    inherited = "SIGKILL with old handles"
    found[f"signing, ended by {inherited}"] = harm(ends, inherited)
    looked = {scene: what for scene, what in found.items() if what is not None}
    if not looked:
        return NOT_SEEN
    harmed = {scene: what for scene, what in looked.items() if what}
    if not harmed:
        return Judgement("conforms", f"The parent was unharmed after each of {len(looked)} children.")
    return Judgement("undefined", "; ".join(harmed.values()) + f". Unharmed after {len(looked) - len(harmed)} others.")


def child_initialize(seen: Seen, claims: Seen) -> Judgement:
    call = next(iter(seen.of("child", "C_Initialize")), None)
    if call is None:
        return NOT_SEEN
    if call.ckr == OK:
        return Judgement("conforms", "C_Initialize of the child answered CKR_OK.")
    if call.ckr is None:
        return Judgement("violates", f"C_Initialize: {death(seen, 'child') or 'it never returned'}.")
    told = f"C_Initialize of the child answered {answer(call)}."
    return went_on(told, claims) if call.ckr == ALREADY_INITIALIZED else Judgement("violates", told)


def went_on(told: str, claims: Seen) -> Judgement:
    """What a child has of its parent's: open where the module has claimed that it hands on copies (v3.0, 3.6)."""
    return Judgement("undefined", f"{told} {HANDED_ON}") if hands_on(claims) else Judgement("violates", told)


def child_login(seen: Seen, claims: Seen) -> Judgement:
    """A child that has not logged in must not be logged in."""
    if parents := seen.answer("parent", "C_Login"):
        return Judgement("not-exercised", f"C_Login of the parent answered {ckr_name(parents)}.")
    state = next(iter(seen.of("child", "C_GetSessionInfo")), None)
    login = next(iter(seen.of("child", "C_Login")), None)
    if _initialized(seen) is None or state is None or state.ckr != OK:
        return NOT_SEEN if state is None else _refused(state)
    if state.facts["logged_in"]:
        then = f", and C_Login answered {answer(login)}" if login else ""
        told = f"A new session of the child was logged in before any C_Login of the child{then}."
        return went_on(_after(seen, told), claims)
    if login is None:
        return NOT_SEEN
    if login.ckr == USER_ALREADY_LOGGED_IN:
        return went_on(_after(seen, "C_Login of the child answered CKR_USER_ALREADY_LOGGED_IN."), claims)
    if login.ckr != OK:
        return Judgement("violates", f"C_Login of the child: {death(seen, 'child') or answer(login)}.")
    return Judgement("conforms", "A new session of the child was not logged in, and C_Login answered CKR_OK.")


def old_handles(seen: Seen, claims: Seen) -> Judgement:
    """They were used before the child had opened any session, so no number could be its own."""
    who = "child with old handles"
    made = [call for call in seen.of(who) if call.name != "C_Initialize"]
    if _initialized(seen, who) is None or not made:
        return NOT_SEEN
    taken = [call.name for call in made if call.ckr == OK]
    if taken:
        return went_on(_after(seen, f"{listed(taken)} of the child took the parent's session handle."), claims)
    if any(call.ckr is None for call in made):
        return Judgement("violates", f"{death(seen, who) or f'{made[-1].name} of the {who} never returned'}.")
    return Judgement("conforms", "; ".join(f"{call.name}: {answer(call)}" for call in made) + ".")


def session_objects(seen: Seen, claims: Seen) -> Judgement:
    made = seen.of("parent", "C_CreateObject")[-1:]
    if not made:
        return NOT_SEEN if not seen.of("child") else NOT_ALLOWED
    if made[0].ckr != OK:
        return Judgement("not-exercised", f"C_CreateObject of the parent: {answer(made[0])}.")
    search = next(iter(seen.of("child", "C_FindObjects")), None)
    if _initialized(seen) is None or search is None:
        return NOT_SEEN
    if search.ckr != OK:
        return _refused(search)
    if search.facts["session_objects_of_the_parent"]:
        told = "C_FindObjects of the child found the session object that its parent created."
        return went_on(_after(seen, told), claims)
    return Judgement("conforms", "C_FindObjects of the child did not find the parent's session object.")


def _initialized(seen: Seen, who: str = "child") -> Call | None:
    """The child's C_Initialize where it was answered so that the child goes on."""
    call = next(iter(seen.of(who, "C_Initialize")), None)
    return call if call is not None and call.ckr in (OK, ALREADY_INITIALIZED) else None


def _after(seen: Seen, told: str) -> str:
    """With what C_Initialize had answered before, where it was not CKR_OK: the one may come of the other."""
    before = told_before(seen, "child")
    return f"{told} {before}." if before else told


def _refused(call: Call) -> Judgement:
    return Judgement("not-exercised", f"{call.name} of the child: {answer(call)}.")


LINES: Final = (
    Line(
        "child-without-initialize",
        "fork",
        "a child calls without C_Initialize",
        'Undefined; "ideally" CKR_CRYPTOKI_NOT_INITIALIZED.',
        APPLICATIONS,
        "calls-without-initialize",
        calls_without_initialize,
    ),
    Line(
        "parent-after-uses",
        "fork",
        "a child used what it inherited: the parent afterwards",
        "Undefined, because the child called without C_Initialize.",
        APPLICATIONS,
        "calls-without-initialize",
        parent_after_uses,
        also=("child-ends",),
    ),
    Line(
        "child-initialize",
        "fork",
        "C_Initialize of a child",
        "The child is an application of its own and needs its own C_Initialize, so it must be able to.",
        APPLICATIONS,
        "child-initialize",
        child_initialize,
        also=("claims",),
    ),
    Line(
        "child-login-state",
        "fork",
        "login state of a child after its C_Initialize",
        "The child must log in itself, even if its parent is logged in.",
        APPLICATIONS,
        "child-initialize",
        child_login,
        also=("claims",),
    ),
    Line(
        "child-old-handles",
        "fork",
        "the parent's handles after the child's C_Initialize",
        "Sessions belong to the application that opened them; the child is another one.",
        OWNERS,
        "child-initialize",
        old_handles,
        also=("claims",),
    ),
    Line(
        "child-session-objects",
        "fork",
        "the parent's session objects in the child",
        "Access to a session object is limited to the application that created it.",
        OWNERS,
        "child-initialize",
        session_objects,
        also=("claims",),
    ),
)
