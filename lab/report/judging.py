"""A run folder to its summary, in memory: every trial examined, the arms compared. Nothing is written."""

from __future__ import annotations

from typing import Any

from lab.analysis.arms import arms_of
from lab.analysis.facts import TrialFacts
from lab.analysis.summary import summarise
from lab.analysis.trial import examine
from lab.errors import LabFault
from lab.record.model import TrialRecord
from lab.record.run import Run


def judge(run: Run) -> tuple[dict[str, Any], list[tuple[TrialRecord, TrialFacts]]]:
    """The summary of a run, and of each trial its record and facts; nothing is written."""
    try:
        arms = arms_of(run.scenario)
        name, seed = run.scenario["name"], run.scenario["seed"]
        margins = run.scenario["margin"]
    except (KeyError, TypeError) as problem:
        raise LabFault(f"{run.path / 'scenario.json'}: is no resolved scenario ({problem!r})") from None
    trials, faults = [], []
    for folder in run.trial_folders:
        try:
            trial = run.trial(folder)
            trials.append((trial.record, examine(trial.record, trial.operations, trial.calls, trial.connections)))
        except LabFault as fault:  # one damaged trial must not hide the others
            faults.append(str(fault).replace(f"{run.path}/", ""))
    summary = summarise(
        run=run.name,
        scenario=name,
        question=run.scenario.get("question") or "",
        seed=seed,
        arms=arms,
        margins=margins,
        facts=[facts for _, facts in trials],
        partial=run.partial,
        faults=faults,
        skipped=run.scenario.get("skipped"),
    )
    return summary, trials
