"""`python -m lab report RUN`: rebuild what a run folder says. Needs no token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab.errors import LabFault, ScenarioError
from lab.record.begun import recover
from lab.record.folder import alone, claimed, write_json
from lab.record.run import Run
from lab.report import token_grid
from lab.report.calibration import cited
from lab.report.judging import judge, unchecked_summary
from lab.report.loaded import Run as Loaded
from lab.report.tables import FOLDER as TABLES
from lab.report.tables import write_tables
from lab.report.traced import is_trace

if TYPE_CHECKING:
    from rich.console import Console

PICTURE: Final = "overview.png"
PAGE: Final = "report.html"


def report(run_path: Path, page: bool = True) -> int:
    """Rebuilds all that a run folder says, and shows it; returns the exit status."""
    from rich.console import Console

    try:
        run = rebuilt(run_path, picture=True)
        if page:
            write_page(run)
        summary = run.summary
    except (ScenarioError, LabFault) as problem:
        if (unwritten := _in_memory(run_path)) is not None:
            present(unwritten, run_path, Console())
            raise
        lost = not (run_path / "scenario.json").exists()
        because = "scenario.json: is missing" if lost else str(problem).removeprefix(f"{run_path}/")
        kept = unchecked_summary(run_path, because)
        if kept is None:
            raise
        summary = kept
    present(summary, run_path, Console())
    return 0 if summary["valid"] else 1


def _in_memory(run_path: Path) -> Mapping[str, Any] | None:
    """The summary of a folder that nothing may be written into; None where the run cannot be judged."""
    try:
        return judge(Run.open(run_path))[0]
    except (ScenarioError, LabFault):  # it lost its scenario, say
        return None


def rebuild(run_path: Path, picture: bool = False) -> Mapping[str, Any]:
    """The summary of rebuilt()."""
    return rebuilt(run_path, picture).summary


def rebuilt(run_path: Path, picture: bool = False) -> Loaded:
    """Summarises a run folder: replaces its summary.json, its tables and, where wanted, its picture.

    The same folder gives the same bytes. Raises ScenarioError where the path is no run folder, LabFault where its files
    cannot be read or the summary cannot be written.
    """
    run = Run.open(run_path)
    with alone(run.path):
        return _rebuilt(run, picture)


def _rebuilt(run: Run, picture: bool) -> Loaded:
    try:
        with claimed(run.path) as ours:
            if ours:
                for folder in run.unsealed:
                    recover(folder)
                run.sweep()
        summary, trials = judge(run)
        write_json(run.path / "summary.json", summary)
        write_tables(run.path / TABLES, trials)
        token_grid.write_table(summary, run.path / TABLES / token_grid.TABLE)
        if picture and not is_trace(summary):  # it has no operations, which are what the picture shows
            from lab.report.picture import draw

            draw(summary, [facts for _, facts in trials], run.path / PICTURE)
            token_grid.draw(summary, run.path / token_grid.PICTURE)
    except OSError as problem:
        raise LabFault(f"{problem.filename or run.path}: cannot be written ({problem.strerror})") from None
    return Loaded.of(run, summary, trials)


def write_page(run: Loaded) -> None:
    """report.html, report.md and figures/. Raises LabFault where they cannot be written."""
    from lab.report.page import write  # matplotlib and pandas, which a quiet run does not need

    try:
        with alone(run.path):
            write(run)
    except OSError as problem:
        raise LabFault(f"{problem.filename or run.path}: cannot be written ({problem.strerror})") from None


def present(summary: Mapping[str, Any], run_path: Path, console: Console) -> None:
    """The summary on the terminal, and where the rest lies."""
    from lab.report.terminal import show

    show(summary, console)
    if line := cited(run_path, summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for what, name in (("picture", PICTURE), ("picture", token_grid.PICTURE), ("tables", TABLES), ("report", PAGE)):
        if (run_path / name).exists():
            console.print(f"{what}: {run_path / name}", markup=False, highlight=False, soft_wrap=True)
