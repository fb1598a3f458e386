"""Two run folders against each other: what may be compared, and what came out (compare.json). Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.analysis import comparable
from lab.analysis.across_runs import FIRST, SECOND, compare_runs
from lab.analysis.arms import TRACE, arms_of
from lab.analysis.comparable import Difference
from lab.errors import ScenarioError
from lab.record.run import Run
from lab.report.judging import Examined, judge, scenario_fault

SCHEMA: Final = 1
KEYS_TOLD: Final = 6
_TOLD: Final = ("run", "scenario", "question", "seed", "valid", "invalid_because", "partial")


@dataclass(frozen=True)
class Side:
    """One of the two runs, judged."""

    run: Run
    summary: Mapping[str, Any]
    trials: Examined

    @property
    def told(self) -> dict[str, Any]:
        whole = self.summary
        return {key: whole[key] for key in _TOLD}


@dataclass(frozen=True)
class Pair:
    """Two runs, and the second against the first as in compare.json."""

    first: Side
    second: Side
    found: dict[str, Any]

    @property
    def sides(self) -> dict[str, Side]:
        return {FIRST: self.first, SECOND: self.second}


def compared(first: Path, second: Path) -> dict[str, Any]:
    """What is found of two runs (compare.json). Raises as pair() does."""
    return pair(first, second).found


def pair(first: Path, second: Path) -> Pair:
    """Judges both runs, and the second against the first.

    Raises ScenarioError where the two may not be compared, or one is no run folder: the message says which keys differ.
    """
    runs = [_opened(path) for path in (first, second)]
    found = _asked_the_same(*runs)
    started = [(run.manifest.get("started"), run.manifest.get("machine")) for run in runs]
    if first.resolve() == second.resolve() or (started[0][0] is not None and started[0] == started[1]):
        raise ScenarioError(f"{first} and {second} are the same run; give two")
    (ours, theirs) = (Side(run, *judge(run)) for run in runs)
    reasons = [
        f"{name}: {reason}"
        for name, side in ((FIRST, ours), (SECOND, theirs))
        for reason in side.summary["invalid_because"]
    ]
    invalid = [name for name, side in ((FIRST, ours), (SECOND, theirs)) if not side.summary["valid"]]
    obstacle = f"{' and '.join(invalid)} {'are' if len(invalid) > 1 else 'is'} not valid" if invalid else None
    margins, seed = ours.run.scenario["margin"], ours.run.scenario["seed"]
    results = [
        each.to_json()
        for arm in found.arms
        for each in compare_runs(arm, _of(ours, arm), _of(theirs, arm), margins, seed, obstacle)
    ]
    missing = [name for name, side in ((FIRST, ours), (SECOND, theirs)) if not side.run.manifest]
    told = {
        "schema": SCHEMA,
        "a": ours.told,
        "b": theirs.told,
        "valid": not reasons,
        "invalid_because": reasons,
        "differs": [_difference(each) for each in (*found.allowed, *_manifests(ours.run, theirs.run))],
        "unknown": [f"{name} has no manifest: its machine and versions are not known" for name in missing],
        "only_in": {FIRST: list(found.only_first), SECOND: list(found.only_second)},
        "arms": {arm: {"a": ours.summary["arms"][arm], "b": theirs.summary["arms"][arm]} for arm in found.arms},
        "comparisons": results,
    }
    return Pair(ours, theirs, told)


def _opened(path: Path) -> Run:
    run = Run.open(path)
    fault = scenario_fault(run)
    if fault is not None:
        raise ScenarioError(f"{path}/{fault}")
    if any(arm.workload == TRACE for arm in arms_of(run.scenario)):
        raise ScenarioError(f"{path}: is of a traced program, which has no figures to compare")
    return run


def _asked_the_same(first: Run, second: Run) -> comparable.Scenarios:
    found = comparable.scenarios(first.scenario, second.scenario)
    pair = f"{first.path} and {second.path} cannot be compared"
    if not found.arms:
        names = [", ".join(names) for names in (found.only_first, found.only_second)]
        raise ScenarioError(f"{pair}: they have no arm in common ({names[0]}; {names[1]})")
    if found.forbidden:
        raise ScenarioError(f"{pair}: scenario.json differs in {_list(map(str, found.forbidden))}")
    if not first.scenario["margin"]:
        raise ScenarioError(f"{pair}: their scenario gives no metric a margin")
    return found


def _list(parts: Iterable[str]) -> str:
    told = list(parts)
    more = f", and {len(told) - KEYS_TOLD} more" if len(told) > KEYS_TOLD else ""
    return ", ".join(told[:KEYS_TOLD]) + more


def _manifests(first: Run, second: Run) -> tuple[Difference, ...]:
    if not first.manifest or not second.manifest:
        return ()
    return comparable.manifests(first.manifest, second.manifest)


def _difference(each: Difference) -> dict[str, Any]:
    return {"key": each.key, "a": each.first, "b": each.second}


def _of(side: Side, arm: str) -> list[Any]:
    return [facts for _, facts in side.trials if facts.arm == arm]
