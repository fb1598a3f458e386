"""Judges of random numbers and nonces: none may occur twice, whoever draws.

What a child may do that has not called C_Initialize is left open by the standard. That what it draws is nobody else's
is a matter of safety: a child that is refused conforms, and one that is given a repeated nonce gives the key away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from lab.probe.line import Judgement, Line
from lab.probe.lines.answers import counted, sentence, tallied, tallies
from lab.probe.lines.endings import badly_ended, how_they_ended, not_ready
from lab.probe.repeats import PROOF, repeated_nonces, repeated_random
from lab.probe.seen import Output, Seen
from lab.record.names import ckr_name

_NOT_INITIALIZED: Final = 0x190
_PLURAL: Final = {"child": "children", "thread": "threads"}


def random_numbers(seen: Seen, kind: str) -> Judgement:
    """kind: child or thread, with which the names of those begin who drew."""
    drew = _makers((one for one in seen.outputs if not one.data), kind)
    if not drew:
        return _nothing(seen, kind, "C_GenerateRandom")
    groups = repeated_random(seen.outputs)
    if not groups and len(drew) < 2:
        return _too_few(seen, kind, drew)
    of = _of(seen, kind, len(drew))
    if not groups:
        others = " or its parent" if kind == "child" else ""
        return Judgement(
            "conforms", f"{of} drew random numbers; none has what another one{others} has.{_others(seen, kind)}"
        )
    affected = _makers((one for group in groups for one in group), kind)
    first = list(dict.fromkeys(one.who for one in groups[0]))
    same = f"{first[0]} and {first[1]}" if len(first) > 1 else f"{first[0]}, twice"
    also = "; the parent's own is among the repeated ones" if _has_parent(groups) else ""
    return Judgement(
        "violates",
        f"C_GenerateRandom gave the same {len(groups[0][0].value)} bytes to {same}; "
        f"{len(affected)} of {len(drew)} {_PLURAL[kind]} affected{also}.{_others(seen, kind)}",
    )


def nonces(seen: Seen, kind: str) -> Judgement:
    """kind: as for random_numbers."""
    if seen.facts.get("family", "ec") != "ec":
        return Judgement("not-exercised", "The key that signs is an RSA key; its signatures have no nonce.")
    signed = [one for one in seen.outputs if one.data]
    makers = _makers((one for one in signed if one.right), kind)
    if not makers:
        if wrong := [one for one in signed if one.right is False]:
            return Judgement("not-exercised", f"None of {len(wrong)} signatures is right.")
        return _nothing(seen, kind, "C_Sign")
    groups = repeated_nonces(seen.outputs)
    if not groups and len(makers) < 2:
        return _too_few(seen, kind, makers)
    of = _of(seen, kind, len(makers))
    if not groups:
        return Judgement("conforms", f"{of} signed; no nonce occurs twice.{_others(seen, kind)}")
    affected = _makers((one for group in groups for one in group), kind)
    scope = f"{len(affected)} of {len(makers)} {_PLURAL[kind]} affected"
    if _has_parent(groups):
        scope += ", and the parent"
    proof = seen.facts.get(PROOF)
    if proof:
        return Judgement(
            "violates",
            f"The private key was computed from the signatures of {proof[0]} and {proof[1]}; {scope}."
            f"{_others(seen, kind)}",
        )
    one, other = groups[0][0].who, groups[0][1].who
    return Judgement(
        "violates",
        f"Signatures of different data by {one} and {other} have the same r, but no private key could be computed; "
        f"{scope}.{_others(seen, kind)}",
    )


def _makers(outputs: Iterable[Output], kind: str) -> set[str]:
    return {one.who for one in outputs if one.who.startswith(kind)}


def _has_parent(groups: list[list[Output]]) -> bool:
    return any(one.who == "parent" for group in groups for one in group)


def _of(seen: Seen, kind: str, count: int) -> str:
    """`All 50 children`, `50 of 50 children`."""
    asked = seen.facts.get("children") if kind == "child" else None
    return f"{count} of {asked} children" if asked else f"{count} {_PLURAL[kind]}"


def _nothing(seen: Seen, kind: str, name: str) -> Judgement:
    """Where none of them was given anything: refusals, and how they ended."""
    calls = [call for call in seen.calls if call.who.startswith(kind)]
    if not calls:
        return not_ready(seen, "parent" if kind == "child" else "process")
    if tally := Counter({told: times for told, times in tallies(seen).items() if told.startswith(f"{name} ")}):
        return Judgement("not-exercised", f"{tallied(tally)}.{_others(seen, kind)}")
    refusals = Counter(f"{call.name} {ckr_name(call.ckr)}" for call in calls if call.ckr)
    if {call.ckr for call in calls} == {_NOT_INITIALIZED} and not seen.cut_off:
        who = len({call.who for call in calls})
        return Judgement("conforms", f"{who} of {who} {_PLURAL[kind]} were refused: {tallied(refusals)}.")
    if kind == "thread" and not refusals:
        return not_ready(seen, "process")
    return Judgement("not-exercised", f"{tallied(refusals) or 'None came to it'}.{_others(seen, kind)}")


def _too_few(seen: Seen, kind: str, makers: set[str]) -> Judgement:
    last = {call.who: call for call in seen.calls if call.ckr and call.who.startswith(kind) and call.who not in makers}
    refusals = Counter(f"{call.name} {ckr_name(call.ckr or 0)}" for call in last.values())
    told = f" The others: {tallied(refusals)}." if refusals else ""
    return Judgement("not-exercised", f"Only {', '.join(makers)} was given any.{told}{_others(seen, kind)}")


def _others(seen: Seen, kind: str) -> str:
    """How C_Initialize was answered where it was not CKR_OK, and what became of those who crashed or hung."""
    told = ""
    initialized = [call.ckr for call in seen.calls if call.who.startswith(kind) and call.name == "C_Initialize"]
    if any(initialized):
        told = f" C_Initialize: {counted(initialized)}."
    if ends := badly_ended(seen, kind if kind == "child" else "process"):
        more = f"; and {len(ends) - 2} more" if len(ends) > 2 else ""
        return f"{told} {sentence(how_they_ended(seen, ends[:2]))}{more}."
    return f"{told} The stage {seen.cut_off}." if seen.cut_off else told


_DRAWS: Final = "C_GenerateRandom gives random or pseudo-random data"
_OPEN: Final = "what a child may do without C_Initialize is undefined, but what it is given must be nobody else's"
_AGAIN: Final = "C_Finalize is what a child has left where its C_Initialize is told that it has been called"
_NONCE: Final = "A nonce may be used once: two signatures of different data with one nonce give the private key away"
_RANDOM_SOURCE: Final = "PKCS #11 v2.40 base, 5.15"
_NONCE_SOURCE: Final = "FIPS 186-5, 6.3 (per-message secret number); PKCS #11 v2.40 mechanisms, 2.3.1"
_PROCESSES: Final = "PKCS #11 v2.40 usage guide, Applications and processes"

_random_of_children: Final[Callable[[Seen], Judgement]] = partial(random_numbers, kind="child")
_random_of_threads: Final[Callable[[Seen], Judgement]] = partial(random_numbers, kind="thread")
_nonces_of_children: Final[Callable[[Seen], Judgement]] = partial(nonces, kind="child")
_nonces_of_threads: Final[Callable[[Seen], Judgement]] = partial(nonces, kind="thread")

LINES: Final = (
    Line(
        "random-over-children",
        "randomness",
        "random numbers of children without C_Initialize",
        f"{_DRAWS}; {_OPEN}.",
        f"{_RANDOM_SOURCE}; {_PROCESSES}",
        "draws-without-initialize",
        _random_of_children,
    ),
    Line(
        "random-after-initialize",
        "randomness",
        "random numbers of children after their own C_Initialize",
        f"{_DRAWS}; after C_Initialize a child is an application of its own.",
        f"{_RANDOM_SOURCE}; {_PROCESSES}",
        "draws-after-initialize",
        _random_of_children,
    ),
    Line(
        "random-after-finalize",
        "randomness",
        "random numbers of children after C_Finalize and C_Initialize",
        f"{_DRAWS}; {_AGAIN}.",
        f"{_RANDOM_SOURCE}, 5.4",
        "draws-after-finalize",
        _random_of_children,
    ),
    Line(
        "random-over-threads",
        "randomness",
        "random numbers of threads",
        f"{_DRAWS}, to threads with CKF_OS_LOCKING_OK as to one.",
        f"{_RANDOM_SOURCE}, 5.4",
        "threads-with-locking",
        _random_of_threads,
    ),
    Line(
        "nonces-over-children",
        "randomness",
        "ECDSA nonces of children without C_Initialize",
        f"{_NONCE}; {_OPEN}.",
        f"{_NONCE_SOURCE}; {_PROCESSES}",
        "draws-without-initialize",
        _nonces_of_children,
        needs_key=True,
    ),
    Line(
        "nonces-after-initialize",
        "randomness",
        "ECDSA nonces of children after their own C_Initialize",
        f"{_NONCE}.",
        _NONCE_SOURCE,
        "draws-after-initialize",
        _nonces_of_children,
        needs_key=True,
    ),
    Line(
        "nonces-after-finalize",
        "randomness",
        "ECDSA nonces of children after C_Finalize and C_Initialize",
        f"{_NONCE}; {_AGAIN}.",
        f"{_NONCE_SOURCE}; PKCS #11 v2.40 base, 5.4",
        "draws-after-finalize",
        _nonces_of_children,
        needs_key=True,
    ),
    Line(
        "nonces-over-threads",
        "randomness",
        "ECDSA nonces of threads",
        f"{_NONCE}.",
        _NONCE_SOURCE,
        "threads-with-locking",
        _nonces_of_threads,
        needs_key=True,
    ),
)
