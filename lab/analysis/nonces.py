"""What a trial's record says of repeated nonces, in plain words: who was affected, and whether the key was computed.

The proof itself is a matter of sealing, which has the signatures (lab/record/repeats.py). Tags of calls can only
suspect: where there is a proof, the rule unique-randomness says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.analysis.calls import Origin
from lab.analysis.rules.finding import Finding, violation
from lab.record.model import NoncesRecord, Signing, TrialRecord


@dataclass(frozen=True)
class NonceFacts:
    """Of one trial. processes: affected children; of: children that there were. evidence: "" where none repeated."""

    repeated: int
    signatures: int
    processes: int
    of: int
    proven: bool
    evidence: str


def of_trial(record: TrialRecord, origin: Origin) -> NonceFacts | None:
    """None where there were no ECDSA signatures to look at."""
    found = record.nonces
    if found is None:
        return None
    role = {process.index: process.role for process in record.processes}
    serving = "worker" if "worker" in role.values() else "master"  # of a real server that has no workers
    children = [process for process in record.processes if process.role == serving and process.end != "never-started"]
    affected = sum(process.index in found.processes for process in children)
    parents = sum(role.get(index) in ("root", "master") and role.get(index) != serving for index in found.processes)
    return NonceFacts(
        repeated=found.repeated,
        signatures=found.signatures,
        processes=affected,
        of=len(children),
        proven=found.proven,
        evidence=_evidence(record, found, affected, len(children), parents > 0, origin) if found.repeated else "",
    )


def _evidence(
    record: TrialRecord, found: NoncesRecord, affected: int, children: int, parent: bool, origin: Origin
) -> str:
    seen = any(process.role == "generator" for process in record.processes)
    what = "two handshakes that anybody can make" if seen else "two signatures"
    scope = f"{found.repeated:,} of {found.signatures:,} signatures share a nonce with another"
    if children:
        scope = f"{affected} of {children} children{' and the parent' if parent else ''} affected; {scope}"
    told = _told(found, origin, seen)
    if not found.proven:
        return f"suspected, for no private key could be computed: {told}; {scope}"
    if found.keys > 1:
        keys = f"{found.keys_proven} of {found.keys} private keys whose nonces repeat were computed"
        return f"{keys}, each from {what}: {told}; {scope}"
    return f"the private key of this arm was computed from {what}: {told}; {scope}"


def _told(found: NoncesRecord, origin: Origin, seen: bool) -> str:
    if found.first is None:
        return "two signatures share their r"
    one, other = found.first
    way = "signed different data with one nonce" if found.proven else "signed different data and have one r"
    if one.process is None or one.process != other.process:
        return f"{_who(one, origin, seen)} and {_who(other, origin, seen)} {way}"
    return f"{_who(one, origin, seen)} and again {origin.when(other.at_ns)} {way}"


def _who(signing: Signing, origin: Origin, seen: bool) -> str:
    who = "the server" if signing.process is None else f"process {signing.process}"
    operation = f"{'handshake' if seen else 'operation'} {signing.sequence}"
    return f"{who} ({operation}, {origin.when(signing.at_ns)})"


def of_rule(found: Finding, facts: NonceFacts | None, record: TrialRecord) -> Finding:
    """The finding of unique-randomness with what the signatures themselves prove."""
    if facts is None or not facts.proven or record.nonces is None or record.nonces.first is None:
        return found
    if not found.count:  # the tap has not seen these calls
        return violation(facts.repeated, record.nonces.first[0].at_ns, facts.evidence, processes=facts.processes)
    return replace(found, evidence=f"{facts.evidence}; in the calls: {found.evidence}")


def to_json(trials: Iterable[tuple[int, NonceFacts | None]]) -> dict[str, Any] | None:
    """`arms.X.nonces` over an arm's trials (number, facts); None where there was nothing to look at."""
    known = [(number, facts) for number, facts in trials if facts is not None]
    if not known:
        return None
    return {
        "signatures": sum(facts.signatures for _, facts in known),
        "repeated": sum(facts.repeated for _, facts in known),
        "processes": sum(facts.processes for _, facts in known),
        "of": sum(facts.of for _, facts in known),
        "proven": any(facts.proven for _, facts in known),
        "evidence": _first(known),
    }


def _first(known: Sequence[tuple[int, NonceFacts]]) -> str:
    """Of the first trial with a proof, or else with a suspicion."""
    for number, facts in sorted(known, key=lambda each: not each[1].proven):
        if facts.evidence:
            return f"trial {number}, {facts.evidence}"
    return ""
