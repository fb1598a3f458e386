"""A run folder to its summary, in memory: every trial examined, the arms compared. Nothing is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lab.analysis.arms import arms_of
from lab.analysis.facts import TrialFacts
from lab.analysis.summary import SCHEMA, summarise
from lab.analysis.trial import examine
from lab.errors import LabFault
from lab.record.folder import name_of
from lab.record.model import TrialRecord
from lab.record.run import Run

SUMMARY: Final = "summary.json"

Examined = list[tuple[TrialRecord, TrialFacts]]


def judge(run: Run) -> tuple[dict[str, Any], Examined]:
    """The summary of a run, and of each trial its record and facts. Raises LabFault where the scenario is none."""
    trials, faults = examined(run)
    return summary_of(run, trials, faults), trials


def examined(run: Run) -> tuple[Examined, list[str]]:
    """Record and facts of each trial that can be read, and what is missing or damaged in the folder, a line each."""
    trials, faults = [], list(run.faults)
    for folder in run.trial_folders:
        try:
            trial = run.trial(folder)
            trials.append((trial.record, examine(trial.record, trial.operations, trial.calls, trial.connections)))
        except LabFault as fault:  # one damaged trial must not hide the others
            faults.append(str(fault).replace(f"{run.path}/", ""))
        except Exception as problem:  # rows that no lab writes
            faults.append(f"trials/{folder.name}: cannot be judged ({type(problem).__name__}: {problem})")
    if not trials:
        faults.append("there is no trial to judge")
    return trials, faults


def summary_of(run: Run, trials: Examined, faults: Sequence[str]) -> dict[str, Any]:
    """The summary of what was examined. Raises LabFault where the run's scenario is no resolved one."""
    fault = scenario_fault(run)
    if fault is not None:
        raise LabFault(f"{run.path}/{fault}")
    return summarise(
        run=run.name,
        scenario=run.scenario["name"],
        question=run.scenario.get("question") or "",
        seed=run.scenario["seed"],
        arms=arms_of(run.scenario),
        margins=run.scenario["margin"],
        facts=[facts for _, facts in trials],
        partial=run.partial,
        faults=faults,
        skipped=run.scenario.get("skipped"),
        chosen=_chosen(run.plan),
    )


def _chosen(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a pilot chose the number of blocks; None where none did, or where plan.json no longer tells."""
    blocks, pilot = plan.get("blocks"), plan.get("pilot")
    if not isinstance(blocks, int) or not isinstance(pilot, dict):
        return None
    return {"blocks": blocks, "pilot": pilot.get("blocks")} | {key: pilot.get(key) for key in ("chosen", "because")}


def scenario_fault(run: Run) -> str | None:
    """Why nothing can be judged by the run's scenario.json, or None."""
    lost = next((fault for fault in run.unread if fault.startswith("scenario.json")), None)
    if lost is not None:
        return lost
    try:
        arms_of(run.scenario)
        if isinstance(run.scenario["seed"], int) and isinstance(run.scenario["margin"], dict):
            return None if isinstance(run.scenario["name"], str) else "scenario.json: has no name"
        return "scenario.json: is no resolved scenario (seed, margin)"
    except (KeyError, TypeError, AttributeError) as problem:
        return f"scenario.json: is no resolved scenario ({problem!r})"


def kept_summary(path: Path) -> dict[str, Any] | None:
    """The summary that lies in a run folder; None where there is none, or none that this version understands."""
    try:
        found = json.loads((path / SUMMARY).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        return None
    return found if isinstance(found.get("arms"), dict) and isinstance(found.get("invalid_because"), list) else None


def unchecked_summary(path: Path, because: str) -> dict[str, Any] | None:
    """The summary that lies in a folder that cannot be judged, marked as such; None where there is none."""
    kept = kept_summary(path)
    if kept is None:
        return None
    marked = f"{because}: this is what {SUMMARY} said before, and nothing of it was checked"
    return {**kept, "run": name_of(path), "valid": False, "invalid_because": [marked, *kept["invalid_because"]]}
