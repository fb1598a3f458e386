"""`python -m lab report RUN`: rebuild what a run folder says. Needs no token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab.analysis.arms import arms_of
from lab.analysis.facts import TrialFacts
from lab.analysis.summary import summarise
from lab.analysis.trial import examine
from lab.errors import LabFault
from lab.record import calibrations, manifest
from lab.record.begun import recover
from lab.record.folder import claimed, write_json
from lab.record.model import TrialRecord
from lab.record.run import Run
from lab.report import token_grid
from lab.report.tables import FOLDER as TABLES
from lab.report.tables import write_tables
from lab.report.traced import is_trace

if TYPE_CHECKING:
    from rich.console import Console

PICTURE: Final = "overview.png"


def report(run_path: Path) -> int:
    """Rebuilds all that a run folder says, and shows it; returns the exit status."""
    from rich.console import Console

    summary = rebuild(run_path, picture=True)
    present(summary, run_path, Console())
    return 0 if summary["valid"] else 1


def rebuild(run_path: Path, picture: bool = False) -> dict[str, Any]:
    """Summarises a run folder: replaces its summary.json, its tables and, where wanted, its picture.

    The same folder gives the same bytes. Raises ScenarioError where the path is no run folder, LabFault where its files
    cannot be read or the summary cannot be written.
    """
    run = Run.open(run_path)
    with claimed(run.path) as ours:
        if ours:
            for folder in run.unsealed:
                recover(folder)
            run.sweep()
    summary, trials = judge(run)
    try:
        write_json(run.path / "summary.json", summary)
        write_tables(run.path / TABLES, trials)
        token_grid.write_table(summary, run.path / TABLES / token_grid.TABLE)
        if picture and not is_trace(summary):  # it has no operations, which are what the picture shows
            from lab.report.picture import draw

            draw(summary, [facts for _, facts in trials], run.path / PICTURE)
            token_grid.draw(summary, run.path / token_grid.PICTURE)
    except OSError as problem:
        raise LabFault(f"{problem.filename or run.path}: cannot be written ({problem.strerror})") from None
    return summary


def present(summary: dict[str, Any], run_path: Path, console: Console) -> None:
    """The summary on the terminal, and where the rest lies."""
    from lab.report.terminal import show

    show(summary, console)
    if line := calibration_of(run_path, summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for what, name in (("picture", PICTURE), ("picture", token_grid.PICTURE), ("tables", TABLES)):
        if (run_path / name).exists():
            console.print(f"{what}: {run_path / name}", markup=False, highlight=False, soft_wrap=True)


def calibration_of(run_path: Path, summary: dict[str, Any]) -> str | None:
    """The line that cites the newest calibration of the machine that a run was measured on, where that is this machine.

    It is in no file of the run, which would not be the same twice.
    """
    from lab.report.calibration import cite

    try:
        machine = Run.open(run_path).manifest.get("machine")
    except LabFault:
        return None
    if machine is None or machine != manifest.machine() or (found := calibrations.newest(machine)) is None:
        return None
    return cite(found, [arm["topology"]["kind"] for arm in summary["arms"].values()])


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
