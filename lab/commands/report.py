"""`python -m lab report RUN`: rebuild what a run folder says. Needs no token."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from lab.analysis.arms import arms_of
from lab.analysis.summary import summarise
from lab.analysis.trial import TrialFacts, examine
from lab.errors import LabFault
from lab.record.begun import recover
from lab.record.run import Run

PICTURE: Final = "overview.png"


def report(run_path: Path) -> int:
    """Rebuilds summary.json, draws the picture, and shows both; returns the exit status."""
    from rich.console import Console

    from lab.report.picture import draw
    from lab.report.terminal import show

    run = Run.open(run_path)
    recover_unsealed(run)
    summary, facts = judge(run)
    write(summary, run.path / "summary.json")
    draw(summary, facts, run.path / PICTURE)
    console = Console()
    show(summary, console)
    console.print(f"picture: {run.path / PICTURE}", markup=False, highlight=False, soft_wrap=True)
    return 0 if summary["valid"] else 1


def rebuild(run_path: Path) -> dict[str, Any]:
    """Summarises a run folder and replaces its summary.json.

    The same folder gives the same bytes. Raises ScenarioError where the path is no run folder, LabFault where its files
    cannot be read or the summary cannot be written.
    """
    run = Run.open(run_path)
    summary, _ = judge(run)
    write(summary, run.path / "summary.json")
    return summary


def recover_unsealed(run: Run) -> None:
    """Seals what trials had recorded when the coordinator was killed. Raises LabFault."""
    for folder in run.unsealed:
        recover(folder)


def judge(run: Run) -> tuple[dict[str, Any], list[TrialFacts]]:
    """The summary of a run and the facts of its trials; nothing is written."""
    try:
        arms = arms_of(run.scenario)
        name, seed = run.scenario["name"], run.scenario["seed"]
        margins = run.scenario["margin"]
    except (KeyError, TypeError) as problem:
        raise LabFault(f"{run.path / 'scenario.json'}: is no resolved scenario ({problem!r})") from None
    facts = [examine(trial.record, trial.operations, trial.calls) for trial in run.trials()]
    summary = summarise(
        run=run.name,
        scenario=name,
        question=run.scenario.get("question") or "",
        seed=seed,
        arms=arms,
        margins=margins,
        facts=facts,
        partial=run.partial,
    )
    return summary, facts


def write(summary: dict[str, Any], path: Path) -> None:
    """Replaces the file in one step, so that nobody ever sees half of it. Raises LabFault where it cannot."""
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    try:
        handle, temporary = tempfile.mkstemp(prefix=".summary-", suffix=".json", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as problem:
        raise LabFault(f"{path}: cannot be written ({problem.strerror})") from None
