"""The report of two runs that are compared: report.html, report.md, figures and tables, as of one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.analysis.across_runs import FIRST, SECOND
from lab.report.figures import two_runs as figures
from lab.report.figures.drawing import Picture
from lab.report.page import Report, Section, put
from lab.report.tables import FOLDER, write_compared
from lab.report.told import two_runs as told
from lab.report.told import two_tables as tables
from lab.report.told.markdown import Told, plain

if TYPE_CHECKING:
    from lab.report.comparing import Pair


def write(folder: Path, pair: Pair) -> Path:
    """Writes all but compare.json into a folder, and returns the path of the page. Raises OSError."""
    write_compared(
        folder / FOLDER,
        pair.found["comparisons"],
        {run: [facts for _, facts in side.trials] for run, side in pair.sides.items()},
    )
    return put(folder, _report(pair))


def _report(pair: Pair) -> Report:
    whole = pair.found
    runs = [whole[name.lower()] for name in (SECOND, FIRST)]
    facts = " against ".join(
        f"{name}: run {run['run']} of {run['scenario']}" for name, run in zip((SECOND, FIRST), runs, strict=True)
    )
    partial = any(run["partial"] for run in runs)
    state = ("both valid" if whole["valid"] else "not both valid") + (", interrupted" if partial else "")
    title = whole["a"]["question"] or whole["a"]["scenario"]
    return Report(f"Two runs: {title}", facts, state, whole["valid"] and not partial, _sections(pair))


def _sections(pair: Pair) -> list[Section]:
    shown = [figures.arm(pair, arm, number) for number, arm in enumerate(pair.found["arms"], 1)]
    arms = [body if isinstance(body, Picture) else Told(plain(body)) for body in shown]
    return [
        Section(0, "", [told.of(pair)]),
        Section(2, "Figures"),
        Section(3, "Failures, before any time", [*figures.failures(pair)]),
        Section(3, "Every trial of both, and the ratio", [Told(_READING), *arms]),
        Section(2, "In numbers"),
        Section(3, "Comparisons", [tables.comparisons(pair)]),
        Section(3, "Arms", [tables.outcomes(pair)]),
        Section(3, "Failures", [tables.failures(pair)]),
        Section(3, "Broken rules", [tables.rules(pair)]),
        Section(2, "Trials that were left out", [tables.excluded(pair)]),
        Section(2, "Where they differ", [tables.differences(pair)]),
        Section(2, "Where and with what", [tables.manifests(pair)]),
        Section(2, "Method in short", [told.METHOD]),
        Section(2, "Limits", [told.LIMITS]),
    ]


_READING = (
    f"Left: each whole and valid trial of {FIRST} and of {SECOND} as a dot. Right: what they amount to. A verdict "
    "needs the whole interval outside the grey margin (faster, slower), or inside it (equivalent)."
)
