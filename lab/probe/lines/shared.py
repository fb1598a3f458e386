"""Judges of what parent and child share at a fork."""

from __future__ import annotations

from collections import Counter
from typing import Final

from lab.probe.line import NOT_SEEN, Judgement, Line
from lab.probe.lines.answers import answer, listed
from lab.probe.lines.endings import harm, work
from lab.probe.lines.fork import APPLICATIONS
from lab.probe.seen import Output, Seen, death


def operation_in_both(seen: Seen) -> Judgement:
    """What a child finishes that its parent began is undefined; a nonce that occurs twice is unsafe either way."""
    child = next(iter(seen.of("child", "C_Sign")), None)
    parent = next(iter(seen.of("parent after", "C_Sign")), None)
    if child is None or parent is None:
        return NOT_SEEN
    made = {output.who: output for output in seen.outputs}
    said = f"C_Sign of the child: {_signed(seen, 'child', made.get('child'))}; of the parent: " + _signed(
        seen, "parent after", made.get("parent after")
    )
    if same_nonce(*made.values()):
        why = "Both signatures have the same nonce: with them anybody can compute the private key"
        return Judgement("violates", f"{said}. {why}.")
    right = made.get("parent after")
    if child.ckr not in (None, 0) and right is not None and right.right:
        return Judgement("conforms", f"{said}.")
    return Judgement("undefined", f"{said}.")


def _signed(seen: Seen, who: str, output: Output | None) -> str:
    call = seen.of(who, "C_Sign")[0]
    if output is None:
        return death(seen, who) or answer(call)
    return f"{answer(call)}, and the signature is {'right' if output.right else 'wrong'}"


def same_nonce(*signatures: Output) -> bool:
    """Whether two right ECDSA signatures of different data have one r, which is what the nonce makes (FIPS 186-5, 6.4).

    RSA signatures have no halves, and never begin alike for different data.
    """
    halves = Counter(one.value[: len(one.value) // 2] for one in signatures if one.right)
    return any(count > 1 for count in halves.values()) and len({one.data for one in signatures}) > 1


def busy_forks(seen: Seen) -> Judgement:
    """A child that fails or hangs is left open: to a parent with threads POSIX gives little. Harm is not."""
    children = sorted(
        {call.who for call in seen.calls if call.who.startswith("child ")}, key=lambda who: (len(who), who)
    )
    children += [end.who for end in seen.ends if end.who.startswith("child ") and end.who not in children]
    threads = [call for call in seen.calls if call.who.startswith("thread ") and call.name == "C_Sign"]
    if not children:
        return NOT_SEEN
    if not any(call.facts.get("times") or call.ckr is None for call in threads):
        refused = listed(sorted({answer(call) for call in threads})) or "no session for them"
        return Judgement("not-exercised", f"The parent's threads could not sign: {refused}.")
    failed = {who: problem for who in children if (problem := work(seen, who))}
    hung = [end for end in seen.ends if end.how == "hang" and end.who in failed]
    words = [f"{len(children) - len(failed)} of {len(children)} children worked"]
    if failed:
        numbers = {"hung": len(hung), "failed": len(failed) - len(hung)}
        words.append(" and ".join(f"{number} {how}" for how, number in numbers.items() if number))
        example = next((failed[end.who] for end in hung), next(iter(failed.values())))
        words.append(f"for instance {example}")
    in_threads = [f"{call.who} of the parent: {answer(call)}" for call in threads if call.ckr]
    wrong = {one.who for one in seen.outputs if one.right is False and one.who.startswith("thread ")}
    harmed = [*in_threads, *(f"{who} of the parent: wrong signature" for who in sorted(wrong)), harm(seen) or ""]
    words += filter(None, harmed)
    if any(harmed) or any(one.right is False for one in seen.outputs):
        return Judgement("violates", "; ".join(words) + ".")
    return Judgement("undefined" if failed else "conforms", "; ".join(words) + ".")


def descriptors(seen: Seen) -> Judgement:
    """The standard says nothing of them; what is shared is told, with its consequence."""
    if "child has" not in seen.facts:
        return NOT_SEEN
    opened = {name.removeprefix("opened "): one for name, one in seen.facts.items() if name.startswith("opened ")}
    shared = [name for name in seen.facts["child has"] if name in opened]
    if not opened or not shared:
        what = f", and nothing of {len(opened)} was in the child" if opened else ""
        made = "C_Initialize, C_Login and C_Sign" if seen.of("parent", "C_Sign") else "C_Initialize and C_Login"
        return Judgement("conforms", f"After {made} the module had nothing open{what}.")
    still = set(seen.facts.get("child has after its C_Initialize", shared))
    words = [f"The child has {listed(_described(opened[name]) for name in shared)}"]
    kinds = {opened[name]["kind"] for name in shared}
    if kinds & {"socket", "pipe"}:
        words.append("Parent and child write into one connection: what one asks, the other may be answered")
    elif "device" in kinds:
        words.append("Parent and child command one open device")
    if "shared memory" in kinds:
        words.append("What one changes in shared memory, locks among it, the other finds changed")
    if "file" in kinds:
        words.append("File offsets and locks are common to both")
    kept = [name for name in shared if name in still]
    after = f"{len(kept)} of {len(shared)} are the same still" if kept else "none is the same any more"
    words.append(f"After the child's own C_Initialize {after}")
    return Judgement("undefined", ". ".join(words) + ".")


def _described(one: dict[str, object]) -> str:
    target = f"{one['target']}"
    name = f"a {one['kind']}" if target.startswith(("socket:", "pipe:")) else f"a {one['kind']} ({target})"
    return name + ("" if one.get("close_on_exec", True) else " that an exec would pass on, too")


LINES: Final = (
    Line(
        "operation-in-both",
        "fork",
        "a signature begun in the parent and finished in both",
        "Undefined for a child without C_Initialize. No nonce may occur twice.",
        f"{APPLICATIONS}; FIPS 186-5, 6.3",
        "operation-in-both",
        operation_in_both,
        needs_key=True,
    ),
    Line(
        "fork-while-busy",
        "fork",
        "children forked while threads of the parent sign",
        "Silent on a parent with threads; its child needs its own C_Initialize, but POSIX allows it only what is "
        "async-signal-safe until an exec.",
        f"{APPLICATIONS}; POSIX.1-2017, fork()",
        "busy-forks",
        busy_forks,
        needs_key=True,
    ),
    Line(
        "shared-descriptors",
        "fork",
        "sockets, files and memory that the child shares",
        "Silent. An own C_Initialize right after the fork can end dangling duplicates.",
        APPLICATIONS,
        "descriptors",
        descriptors,
    ),
)
