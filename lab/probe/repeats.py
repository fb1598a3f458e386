"""Random numbers and nonces that occur more than once: counted, and where nonces do, the private key is computed.

Two ECDSA signatures of different data with one nonce are the key (lab/record/nonces.py); it is computed in a process of
its own and goes no further than the answer that it is the public key's. What is told is who made the two signatures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from lab.probe.seen import Output, Seen
from lab.record.proving import Case, prove

PROOF: Final = "key computed from"
"""Name of the fact: the two who made the signatures, in their order; absent where nothing was proven."""
_MOST_TRIED: Final = 8
"""Groups of one nonce of which a key is tried."""


def repeated_nonces(outputs: Iterable[Output]) -> list[list[Output]]:
    """Groups of right signatures of different data with the same first half, which is r of an ECDSA signature."""
    signed = [one for one in outputs if one.data and one.right]
    return [group for group in _groups(signed, halved=True) if len({one.data for one in group}) > 1]


def repeated_random(outputs: Iterable[Output]) -> list[list[Output]]:
    """Groups of equal random outputs."""
    return _groups((one for one in outputs if not one.data), halved=False)


def _groups(outputs: Iterable[Output], halved: bool) -> list[list[Output]]:
    found: dict[bytes, list[Output]] = defaultdict(list)
    for one in outputs:
        found[one.value[: len(one.value) // 2] if halved else one.value].append(one)
    return [group for group in found.values() if len(group) > 1]


def with_proof(seen: Seen) -> Seen:
    """The same, with the fact PROOF where nonces repeat and the private key can be computed. Raises LabFault."""
    groups = repeated_nonces(seen.outputs)
    if not groups or not seen.public_pem:
        return seen
    pairs = [_pair(group) for group in groups[:_MOST_TRIED]]
    signatures = tuple((one.data, one.value) for pair in pairs for one in pair)
    [proof] = prove([Case(seen.public_pem, signatures)])
    if proof.pair is None:
        return seen
    makers = [one.who for pair in pairs for one in pair]
    return replace(seen, facts={**seen.facts, PROOF: [makers[place] for place in proof.pair]})


def _pair(group: list[Output]) -> tuple[Output, Output]:
    """Two of different data, of two processes or threads where there are any; of the parent only where it must be."""
    by_children_first = sorted(group, key=lambda one: one.who == "parent")
    first = by_children_first[0]
    others = [one for one in by_children_first if one.data != first.data]
    return first, next((one for one in others if one.who != first.who), others[0])
