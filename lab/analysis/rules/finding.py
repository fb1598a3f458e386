"""What one check of one rule found, and how findings become the verdict of a trial and of an arm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One rule against one process, or against a whole trial.

    exercised: whether there was anything that could have broken the rule. count: violations. at_ns, evidence: the
    first one's. note: what a reader should know even of a rule that holds. processes: how many broke it. undefined: why
    there is no verdict: the standard leaves it open, or the check failed.
    """

    exercised: bool
    count: int = 0
    at_ns: int = 0
    evidence: str = ""
    note: str = ""
    processes: int = 0
    undefined: str = ""


NOT_EXERCISED = Finding(exercised=False)
CONFORMS = Finding(exercised=True)


def violation(count: int, at_ns: int, evidence: str, note: str = "", processes: int = 1) -> Finding:
    """`count` violations, the first of them at at_ns."""
    return Finding(True, count, at_ns, evidence, note, processes)


def check_failed(problem: Exception) -> Finding:
    """A check that raised has found nothing, and must not look as if it had."""
    return Finding(exercised=True, undefined=f"the check failed with {type(problem).__name__}: {problem}")


def together(findings: Iterable[Finding]) -> Finding:
    """All findings of a rule as one; the evidence is that of the earliest violation, times being of one clock."""
    exercised = False
    count = processes = 0
    first: Finding | None = None
    note = undefined = ""
    for finding in findings:
        exercised = exercised or finding.exercised
        count += finding.count
        processes += finding.processes
        note = note or finding.note
        undefined = undefined or finding.undefined
        if finding.count and (first is None or finding.at_ns < first.at_ns):
            first = finding
    if first is None:
        return Finding(exercised, note=note, undefined=undefined)
    return Finding(exercised, count, first.at_ns, first.evidence, first.note or note, processes, undefined)


def judged(by_trial: Iterable[tuple[int, Finding]]) -> dict[str, Any]:
    """Verdict, count and evidence of a rule over an arm's trials (number, finding).

    A violation that was found stands whatever else is undefined.
    """
    trials = list(by_trial)
    count = sum(finding.count for _, finding in trials)
    processes = sum(finding.processes for _, finding in trials)
    if count:
        broken = [(number, finding) for number, finding in trials if finding.count]
        number, first = broken[0]
        evidence = f"trial {number}, {first.evidence}"
        scope = f"{count:,} in all, by {processes} process{'' if processes == 1 else 'es'}"
        scope += f" in {len(broken)} of {len(trials)} trials"
        return {
            "verdict": "violates",
            "count": count,
            "evidence": "; ".join(part for part in (evidence, first.note, scope) if part),
            "processes": processes,
        }
    open_ = next((f"trial {number}, {finding.undefined}" for number, finding in trials if finding.undefined), "")
    note = next((finding.note for _, finding in trials if finding.note), "")
    exercised = any(finding.exercised for _, finding in trials)
    verdict = "undefined" if open_ else "conforms" if exercised else "not-exercised"
    return {"verdict": verdict, "count": 0, "evidence": open_ or note, "processes": 0}
