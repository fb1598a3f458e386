"""Judges of what a child does to its parent, and of what both do side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lab.probe.line import NOT_SEEN, Judgement, Line, Verdict
from lab.probe.lines.answers import (
    ALREADY_INITIALIZED,
    OK,
    USER_ALREADY_LOGGED_IN,
    answer,
    told_before,
)
from lab.probe.lines.endings import harm, named, work
from lab.probe.lines.fork import APPLICATIONS, went_on
from lab.probe.seen import Seen, death

_STARTS: Final = ("C_Initialize", "C_Login")
_GOES_ON: Final = (ALREADY_INITIALIZED, USER_ALREADY_LOGGED_IN)
_FINALIZE: Final = "PKCS #11 v2.40 base, 5.4 C_Finalize; v2.20, 6.6.1"


def unharmed(scenes: tuple[str, ...], otherwise: Verdict) -> Callable[[Seen], Judgement]:
    """A judge of the parents of these scenes; `otherwise` is its verdict where one of them is harmed."""

    def judge(seen: Seen) -> Judgement:
        found = {scene: harm(seen, scene) for scene in scenes}
        looked = [scene for scene, what in found.items() if what is not None]
        if harmed := [scene for scene in looked if found[scene]]:
            words = [f"{found[scene]}{_before(seen, scene)}" for scene in harmed]
            if spared := [scene for scene in looked if not found[scene]]:
                words.append(f"unharmed after {' / '.join(spared)}")
            return Judgement(otherwise, "; ".join(words) + ".")
        if not looked:
            return NOT_SEEN
        missed = {scene: why for scene in looked if (why := _missed(seen, scene))}
        reached = [scene for scene in looked if scene not in missed]
        if not reached:
            return Judgement("not-exercised", "; ".join(missed.values()) + ".")
        signed = ", and it signed" if any(seen.of(named("parent after", scene), "C_Sign") for scene in reached) else ""
        after = f"After {' / '.join(reached)} of a child, the parent's sessions were there and logged in{signed}."
        return Judgement("conforms", " ".join([after, *(f"But {what}." for what in missed.values())]))

    return judge


def _before(seen: Seen, scene: str) -> str:
    told = told_before(seen, named("child", scene))
    return f" (the child's {told})" if told else ""


def _missed(seen: Seen, scene: str) -> str:
    """Why a child did not do what its scene is for: it was refused, or it died in another way. "" where it did."""
    who, end = named("child", scene), seen.end(named("child", scene))
    refused = next((c for c in seen.of(who) if c.ckr and c.ckr not in _GOES_ON and c.name != "C_Finalize"), None)
    if refused is not None:
        return f"{who}: {refused.name} answered {answer(refused)}"
    if "SIG" not in scene:
        return death(seen, who)
    # Killing itself is what such a child is for.
    if end is None or end.words != f"died of {scene}":
        return death(seen, who) or f"{who} did not come to it"
    amid = any(call.name == "C_Sign" and call.ckr is None for call in seen.of(who))
    return "" if amid else f"{who} was not amid C_Sign"


def beside(seen: Seen) -> Judgement:
    parent = next((call for call in seen.of("parent (beside)", "C_Sign")), None)
    child = work(seen, "child (beside)")
    if parent is None or child is None:
        return NOT_SEEN
    wrong = [output for output in seen.outputs if output.who == "parent (beside)" and output.right is False]
    problems = [child, harm(seen, "beside") or "", "a signature of the parent is wrong" if wrong else ""]
    if parent.ckr != 0:
        problems.append(work(seen, "parent (beside)") or "")
    if any(problems):
        return Judgement("violates", "; ".join(filter(None, problems)) + f"{_before(seen, 'beside')}.")
    calls = [f"{call.name} {answer(call)}" for call in seen.of("child (beside)") if call.name in _STARTS]
    times = parent.facts["times"]
    told = f"The child signed ({', '.join(calls)}) while its parent signed {times} times."
    if seen.answer("child (beside)", "C_Initialize") not in (None, OK):
        return Judgement("undefined", f"{told} It had no context of its own: it worked in its parent's.")
    return Judgement("conforms", told)


def reload(seen: Seen) -> Judgement:
    """C_Finalize without an own C_Initialize is undefined: where it works, an application can go this way."""
    child = work_after_finalize(seen)
    if child is None:
        return NOT_SEEN
    problems = [child, harm(seen, "reload") or ""]
    if any(problems):
        return Judgement("undefined", "; ".join(filter(None, problems)) + ".")
    return Judgement("conforms", "After C_Finalize and C_Initialize the child worked, and the parent was unharmed.")


def work_after_finalize(seen: Seen) -> str | None:
    """As work(), but whatever C_Finalize of what was inherited answered, the child went on."""
    who = "child (reload)"
    finalize = next(iter(seen.of(who, "C_Finalize")), None)
    if finalize is None:
        return None
    if finalize.ckr is None:
        return death(seen, who) or "C_Finalize of the child never returned"
    rest = Seen(tuple(call for call in seen.calls if call is not finalize), seen.ends, outputs=seen.outputs)
    return work(rest, who)


def grandchild(scene: str) -> Callable[[Seen, Seen], Judgement]:
    def judge(seen: Seen, claims: Seen) -> Judgement:
        who = f"grandchild ({scene})"
        found = work(seen, who)
        if found is None:
            return NOT_SEEN
        problems = [found, harm(seen, scene) or "", _child_afterwards(seen, scene)]
        refused = f"C_Initialize of the {who} answered CKR_CRYPTOKI_ALREADY_INITIALIZED"
        inherits = seen.answer(who, "C_Initialize") == ALREADY_INITIALIZED
        if any(problems):
            return Judgement("violates", "; ".join(filter(None, [refused if inherits else "", *problems])) + ".")
        if inherits:
            return went_on(f"{refused}.", claims)
        return Judgement("conforms", "The grandchild initialised, logged in and signed; those above it were unharmed.")

    return judge


def _child_afterwards(seen: Seen, scene: str) -> str:
    after = f"child after ({scene})"
    return (work(seen, after) or "") if seen.of(after) else ""


def _parent(name: str, title: str, says: str, scenes: tuple[str, ...], otherwise: Verdict = "violates") -> Line:
    return Line(name, "fork", title, says, _FINALIZE, "child-ends", unharmed(scenes, otherwise))


_OTHERS: Final = "What one application does, or how it ends, does not reach another's sessions and login."

LINES: Final = (
    _parent(
        "parent-after-child-finalize",
        "C_Finalize of a child without C_Initialize: the parent afterwards",
        "Undefined, because the child called without C_Initialize.",
        ("finalize",),
        "undefined",
    ),
    _parent(
        "parent-after-initialize-finalize",
        "C_Initialize and C_Finalize of a child: the parent afterwards",
        "Good practice for every child, used or not; it does not reach the parent.",
        ("initialize, finalize",),
    ),
    _parent(
        "parent-after-child-exit",
        "a child exits, at once or after work: the parent afterwards",
        _OTHERS,
        ("_exit", "exit", "work, exit"),
    ),
    _parent(
        "parent-after-child-crash",
        "SIGKILL and SIGSEGV of a child amid C_Sign: the parent afterwards",
        _OTHERS,
        ("SIGKILL", "SIGSEGV"),
    ),
    Line(
        "child-works-beside",
        "fork",
        "a child works in its own context while its parent signs",
        "Parent and child are separate applications, each with its own C_Initialize and login.",
        APPLICATIONS,
        "child-works",
        beside,
        needs_key=True,
    ),
    Line(
        "child-reload",
        "fork",
        "a child reloads: C_Finalize, then C_Initialize",
        "C_Finalize before an own C_Initialize is undefined.",
        APPLICATIONS,
        "child-works",
        reload,
        needs_key=True,
    ),
    Line(
        "grandchild",
        "fork",
        "a child that has not initialised forks: the grandchild",
        "Each process is an application and needs its own C_Initialize.",
        APPLICATIONS,
        "grandchildren",
        grandchild("child has not initialised"),
        needs_key=True,
        also=("claims",),
    ),
    Line(
        "grandchild-of-initialized",
        "fork",
        "a child that has initialised forks: the grandchild",
        "Each process is an application and needs its own C_Initialize.",
        APPLICATIONS,
        "grandchildren",
        grandchild("child has initialised"),
        needs_key=True,
        also=("claims",),
    ),
)
