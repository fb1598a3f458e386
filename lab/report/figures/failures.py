"""What failed: by layer and code, by process, and when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lab.report.figures.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Picture,
    Sentence,
    drawn,
    legend_below,
    look,
    panels,
    picture,
)
from lab.report.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from lab.report.loaded import Run

NONE: Final = Sentence("Nothing failed in this run.")
KINDS_SHOWN: Final = 20
ARMS_SHOWN: Final = 6
CODES_SHOWN: Final = 7
_MARKS: Final = 1500  # of one code in one panel; more would only cover each other
_LAYERS: Final = {
    "pkcs11": (VERMILLION, "//"),
    "tls": (BLUE, ""),
    "network": (SKY, ".."),
    "openssl": (ORANGE, "\\\\"),
    "wrong-result": (PURPLE, "xx"),
    "signal": ("black", ""),
    "hang": ("#555555", "xx"),
    "exit": (GREY, "--"),
}
_OTHER: Final = (GREEN, "++")


@drawn
def by_code(run: Run) -> Picture | Sentence:
    """A bar for each arm, layer and code: how often, in how many processes."""
    if run.failures.empty:
        return NONE
    rows: list[tuple[str, str, str, int, int]] = [
        (name, failure["layer"], failure["code"] + _side(failure), failure["count"], failure["processes"])
        for name, arm in run.summary["arms"].items()
        for failure in arm["failures"]
    ]
    left_out = len(rows) - KINDS_SHOWN
    if left_out > 0:
        most = sorted(rows, key=lambda row: -row[3])[:KINDS_SHOWN]
        rows = [row for row in rows if row in most]
    found = picture("failures", "How often each error came, by arm, layer and code.", 1.3 + 0.3 * len(rows))
    axes = panels(found, 1, 1)[0, 0]
    for place, (_, layer, _, count, processes) in enumerate(rows):
        colour, hatch = _LAYERS.get(layer, _OTHER)
        axes.barh(place, count, color=colour, hatch=hatch, edgecolor="white", height=0.62)
        said = f"{count:,} in {counted(processes, 'process', 'processes')}"
        axes.annotate(said, (count, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{arm}: {_cut(code, 44)}" for arm, _, code, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    most_often = max(row[3] for row in rows)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, max(10.0, most_often * 14.0))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set(xlabel="times, all trials together", title="Failures by arm and code")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    layers = {row[1]: _LAYERS.get(row[1], _OTHER) for row in rows}
    legend_below(
        found,
        [
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
            for name, (colour, hatch) in layers.items()
        ],
    )
    if left_out > 0:
        found.text(0.995, 0.005, f"{left_out} rarer kinds are in summary.json", ha="right", fontsize=8, color="#555555")
    return found


@drawn
def by_process(run: Run) -> Picture | Sentence:
    """Of each arm the trial with most failures: a row for each process, a mark for each failed operation, in time."""
    if run.failures.empty:
        return NONE
    operations = run.operations
    failed = operations[operations["outcome"].isin(["fail", "info"]).to_numpy()]
    totals = run.failures.groupby(["arm", "trial"], observed=True)["count"].sum()
    names = [name for name in run.summary["arms"] if name in totals.index.get_level_values("arm")]
    if failed.empty:
        return Sentence("Processes failed in this run, and none of its operations: the figure by code names them.")
    shown = [(name, int(totals[name].idxmax())) for name in names][:ARMS_SHOWN]
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    says = "Failed operations of one trial of each arm in time, a row for each process, with the process's total."
    deepest = max(len(_processes(run, trial)) for _, trial in shown)
    found = picture("failures-in-time", says, 1.2 + rows * (1.1 + 0.24 * min(deepest, 16)))
    grid = panels(found, rows, columns)
    codes = _codes(failed)
    for axes, (name, trial) in zip(grid.flat, shown, strict=False):
        _panel(axes, run, trial, failed[failed["trial"] == trial], codes)
        axes.set_title(f"{_cut(name, 40)}, trial {trial}")
        axes.set_xlabel("ms since the release")
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("process")
    handles = [
        Line2D([], [], marker=look(place).marker, color=look(place).colour, ls="", label=code)
        for place, code in enumerate(codes)
    ]
    legend_below(found, handles, columns=3)
    if len(names) > len(shown):
        found.text(0.995, 0.005, f"{len(shown)} of {len(names)} arms", ha="right", fontsize=8, color="#555555")
    return found


_REST: Final = "any other"
_UNKNOWN: Final = "never ended"


def _named(failed: pd.DataFrame) -> pd.Series[str]:
    return failed["code"].astype(object).where(failed["code"].notna(), _UNKNOWN).astype(str)


def _codes(failed: pd.DataFrame) -> list[str]:
    """The most frequent codes, and one name for the rest."""
    counts = _named(failed).value_counts()
    named = [str(code) for code in counts.index[:CODES_SHOWN]]
    return [*named, _REST] if len(counts) > CODES_SHOWN else named


def _processes(run: Run, trial: int) -> list[int]:
    """Processes of a trial that failed at something."""
    mine = run.failures[run.failures["trial"] == trial]
    return sorted({int(process) for process in mine["process"]})


def _panel(axes: Any, run: Run, trial: int, failed: pd.DataFrame, codes: list[str]) -> None:
    totals = run.failures[run.failures["trial"] == trial].groupby("process")["count"].sum()
    processes = sorted({*_processes(run, trial), *(int(process) for process in failed["process"].unique())})
    place_of = {process: place for place, process in enumerate(processes)}
    names = _named(failed).to_numpy()
    at = failed["ended_ms"].where(failed["ended_ms"].notna(), failed["started_ms"]).to_numpy()
    where = failed["process"].map(place_of).to_numpy(dtype=float)
    here = [code for code in codes if code == _REST or (names == code).any()]
    for number, code in enumerate(codes):
        mine = np.flatnonzero(~np.isin(names, codes) if code == _REST else names == code)
        if mine.size > _MARKS:
            mine = mine[np.linspace(0, mine.size - 1, _MARKS).astype(np.intp)]
        style = look(number)
        beside = 0.1 * (number % 3 - 1) * (len(here) > 1)
        marks: dict[str, Any] = {"color": style.colour, "ms": 4, "alpha": 0.55, "mec": "none", "rasterized": True}
        axes.plot(at[mine], where[mine] + beside, style.marker, **marks)
    every = max(1, math.ceil(len(processes) / 16))
    axes.set_yticks(range(0, len(processes), every), [str(process) for process in processes[::every]])
    axes.set_ylim(len(processes) - 0.4, -0.6)
    for process, place in place_of.items():
        if place % every == 0:
            said = f"{int(totals.get(process, 0)):,}"
            axes.annotate(said, (1, place), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                          va="center", fontsize=8)  # fmt: skip
    axes.grid(axis="x", alpha=0.3)


def _side(failure: Any) -> str:
    return f" ({failure['side']})" if failure.get("side") else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
