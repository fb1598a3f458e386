"""The pictures of docs/bug-42688.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from docs.measured import FIRST, HTTPD, NEITHER, PREPARED, Measured
from docs.tables import broken, causes, token_of
from lab.report.picture import log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOK: Final[Mapping[str, tuple[str, str]]] = {
    "A": ("o", "#0072B2"),
    "B": ("D", "#D55E00"),
    "neither": ("s", "#666666"),
    "httpd": ("^", "#009E73"),
}
"""Markers and colours (Okabe and Ito's, which differ in lightness too) of the four groups of arms."""


def group(arm: str) -> str:
    return arm.partition("-")[0]


def _rows(axes: Axes, arms: Sequence[str]) -> None:
    axes.set_yticks(range(len(arms)), arms)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", which="major", alpha=0.3)


def _dots(axes: Axes, row: float, values: Sequence[float], arm: str, filled: bool = True) -> None:
    """All values, spread a little so that equal ones are seen, and a bar at their median."""
    marker, colour = LOOK[group(arm)]
    spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(len(values))
    face = colour if filled else "white"
    axes.plot(values, row + spread, marker, color=colour, markerfacecolor=face, ms=5, alpha=0.75)
    if values:
        axes.plot([median(values)] * 2, [row - 0.3, row + 0.3], "-", color="black", lw=1.6)


def _log(axes: Axes, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    low, high, ticks = log_axis(values)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_cost(run: Measured, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels: Any = figure.subplots(1, 3, sharey=True)
    metrics = ("cold_ms.total", "processes.pss_mib_p50", "sessions.peak_total")
    labels = ("cold start of a process, ms (log)", "memory of a process, MiB (PSS)", "open sessions, whole server")
    for axes, metric, label in zip(panels, metrics, labels, strict=True):
        every = {arm: run.figures(arm, metric) for arm in PREPARED}
        for row, (arm, values) in enumerate(every.items()):
            _dots(axes, row, values, arm)
        _rows(axes, PREPARED)
        axes.set_xlabel(label)
        if metric.startswith("cold_ms"):
            _log(axes, [value for values in every.values() for value in values])
        else:
            axes.set_xlim(0, 1.15 * max(value for values in every.values() for value in values))
    figure.suptitle("What each process pays for its context: a dot for each trial, a bar at their median")
    _save(figure, file)


def draw_first(run: Measured, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes = figure.subplots()
    every = []
    for row, arm in enumerate(FIRST):
        firsts = [value for trial in run.firsts[arm] for value in trial.first]
        later = [value for trial in run.firsts[arm] for value in trial.later]
        _dots(axes, row - 0.2, firsts, arm)
        _dots(axes, row + 0.25, later, arm, filled=False)
        every += firsts + later
    _rows(axes, FIRST)
    _log(axes, every)
    axes.set_xlabel("handshake on the server, from accept to its end, ms (log)")
    figure.suptitle(
        "The first handshake of each child (filled, above) and its later ones (hollow, below), of all trials;"
        " bars at medians"
    )
    _save(figure, file)


def draw_outcomes(run: Measured, file: Path) -> None:
    from matplotlib.figure import Figure

    arms = (*NEITHER, *HTTPD)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(arms):
        shares = [100 * trial.outcomes.ok / (trial.outcomes.planned or 1) for trial in run.trials[name]]
        _dots(axes, row, shares, name)
        arm = run.arm(name)
        text = f"{broken(arm)}" if group(name) == "neither" else causes(arm)
        what = "rules broken" if group(name) == "neither" else "known causes"
        axes.text(103, row, f"{token_of(arm)}\n{what}: {text}", fontsize="x-small", va="center")
    _rows(axes, arms)
    axes.set(xlim=(-2, 102), xlabel="handshakes that ended well, %: a dot for each trial, a bar at their median")
    figure.suptitle("With neither, and with the real httpd")
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=110, bbox_inches="tight", metadata={"Software": None})


DRAWN: Final[Mapping[str, Callable[[Measured, Path], None]]] = {
    "bug-42688-cost.png": draw_cost,
    "bug-42688-first-handshake.png": draw_first,
    "bug-42688-outcomes.png": draw_outcomes,
}
