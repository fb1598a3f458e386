"""How long operations took: all trials as dots with the arm's interval, percentile spectra, and distributions.

A quantile is shown only where enough operations support it: 1/(1-p) goes up to a third of their number, as the floors
of lab.analysis.quantiles do. Curves are drawn through at most a few hundred order statistics, which the eye cannot tell
from all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lab.report.figures import outcomes
from lab.report.figures.drawing import (
    ARMS_IN_ONE,
    Picture,
    Sentence,
    Several,
    arm_rows,
    drawn,
    legend_below,
    log_axis,
    look,
    order_of,
    panels,
    picture,
    spread,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lab.report.loaded import Run

POINTS: Final = 240
_PER_QUANTILE: Final = 3  # operations beyond a quantile that is shown: the floor of p99 is 299
_NINES: Final = {2: "50", 10: "90", 100: "99", 1000: "99.9", 10_000: "99.99", 100_000: "99.999"}

Curves = Mapping[str, Sequence[NDArray[np.float64]]]
"""For each arm, the sorted durations in ms of each of its trials."""


def family(run: Run) -> str:
    """`response_ms` where arrivals were planned, otherwise `service_ms`."""
    arms = run.summary["arms"].values()
    return "response_ms" if any(arm["response_ms"]["p50"] is not None for arm in arms) else "service_ms"


@drawn
def trials(run: Run) -> Picture | Sentence:
    """A row for each arm: the figure of each trial as a dot, and the arm's 95 % interval where the run has one."""
    arms, of = run.summary["arms"], family(run)
    frame = run.trials[run.trials["usable"]]
    metrics = [
        name for name in (f"{of}.p50", f"{of}.p99", "throughput_hz") if name in frame and frame[name].notna().any()
    ]
    metrics = [name for name in metrics if name != "throughput_hz" or not _all_open(arms)]
    names = [name for name in arms if (frame["arm"] == name).any() and arms[name]["ok"]]
    if not metrics or not names:
        return Sentence("No trial that is whole and valid has a latency, so there are no dots to show.")
    found = picture(
        "trials", "The figure of each trial as a dot, by arm.", 1.4 + 0.3 * len(names) + 0.15 * _most_lines(names)
    )
    grid = panels(found, 1, len(metrics), sharey=True)[0]
    drawn = False
    for axes, metric in zip(grid, metrics, strict=True):
        every: list[float] = []
        for row, name in enumerate(names):
            values = frame.loc[frame["arm"] == name, metric].dropna().tolist()
            style = look(order_of(arms)[name])
            if values:
                heights = [row - 0.12 + offset for offset in spread(len(values), 0.1)]
                axes.plot(values, heights, style.marker, color=style.colour, alpha=0.65, ms=5, mec="white", mew=0.4)
                every += values
            interval = interval_of(arms[name], metric)
            if interval is not None:
                drawn = True
                low, high = interval
                axes.plot([low, high], [row + 0.24] * 2, "-", color="black", lw=1.6, solid_capstyle="butt")
                axes.plot([low, high], [row + 0.24] * 2, "|", color="black", ms=8, mew=1.4)
                whole = arms[name][metric] if metric in arms[name] else arms[name][of][metric.partition(".")[2]]
                axes.plot([whole], [row + 0.24], "D", color="black", ms=4)
                every += [low, high]
            if not values and interval is None:
                axes.text(0.5, row, "too few operations", transform=axes.get_yaxis_transform(), ha="center", fontsize=8)
        if min(every, default=1.0) > 0:
            log_axis(axes.xaxis, every)
        else:  # a trial in which nothing was done has its dot too, which a logarithm has no place for
            axes.set_xlim(left=-0.02 * max(every))
        axes.grid(axis="x", alpha=0.3)
        quantity, _, quantile = metric.partition(".")
        axes.set(xlabel=_LABEL[quantity], title=f"{quantile or 'throughput'} of each trial")
    arm_rows(grid[0], names)
    handles = [Line2D([], [], marker="o", ls="", color="#555555", label="one trial")]
    if drawn:
        handles.append(Line2D([], [], marker="D", color="black", ms=4, label="the arm, with its 95 % interval"))
    legend_below(found, handles)
    return found


_LABEL: Final = {
    "response_ms": "response time, ms",
    "service_ms": "service time, ms",
    "throughput_hz": "operations per second",
}


def interval_of(arm: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    """The arm's own 95 % interval (lab.analysis.intervals), as its summary has it; None where it has none."""
    family_, _, quantile = metric.partition(".")
    found = (arm.get("ci") or {}).get(family_)
    ends = (found or {}).get(quantile) if quantile else found
    return (float(ends[0]), float(ends[1])) if ends else None


def _all_open(arms: Mapping[str, Any]) -> bool:
    return all((arm.get("load") or {}).get("mode") == "open" for arm in arms.values())


def _most_lines(names: Sequence[str]) -> int:
    return max(wrapped(name).count("\n") for name in names) * len(names)


@drawn
def distributions(run: Run) -> Several | Sentence:
    """Failures beside latency: for up to eight arms each, outcomes, percentile spectrum and ECDF."""
    arms = run.summary["arms"]
    names = [name for name in arms if arms[name]["planned"] or arms[name]["failures"]]
    curves = of_trials(run)
    if not any(curves.values()):
        return Sentence("No operation of a trial that is whole and valid ended well, so there is no latency to show.")
    parts = [names[at : at + ARMS_IN_ONE] for at in range(0, len(names), ARMS_IN_ONE)]
    return Several(_distributions(run, part, curves, number) for number, part in enumerate(parts, 1))


def of_trials(run: Run) -> Curves:
    """Durations of measured operations that ended well, of trials that are whole and valid."""
    frame, of = run.operations, family(run)
    wanted = (
        frame["usable"].to_numpy() & (frame["phase"] == "measured").to_numpy() & (frame["outcome"] == "ok").to_numpy()
    )
    names, trial = frame["arm"].cat, frame["trial"].to_numpy()[wanted]
    arm, took = names.codes.to_numpy()[wanted], frame[of].to_numpy()[wanted]
    if of == "response_ms" and np.isnan(took).any():  # an arm in a closed loop has service times only
        service = frame["service_ms"].to_numpy()[wanted]
        took = np.where(np.isnan(took), service, took)
    order = np.lexsort((took, trial))
    trial, arm, took = trial[order], arm[order], took[order]
    edges = np.flatnonzero(np.diff(trial, prepend=-1, append=-1)) if trial.size else np.zeros(0, np.intp)
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in run.summary["arms"]}
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        found.setdefault(str(names.categories[arm[low]]), []).append(took[low:high])
    return found


def _distributions(run: Run, names: Sequence[str], curves: Curves, number: int) -> Picture:
    arms = run.summary["arms"]
    name = "latency" if number == 1 else f"latency-{number}"
    says = "Beside the share of operations that ended well, how long they took, as percentiles and as a distribution."
    found = picture(name, says, max(3.9, 1.8 + 0.45 * len(names)))
    left, middle, right = panels(found, 1, 3, gridspec_kw={"width_ratios": (0.8, 1.3, 1.3)})[0]
    outcome_handles = outcomes.bars(left, arms, names)
    handles: list[Any] = []
    every: list[float] = []
    for arm in names:
        of_arm = curves.get(arm) or []
        if not of_arm:
            continue
        style = look(order_of(arms)[arm])
        pooled = np.sort(np.concatenate(of_arm))
        for one in of_arm:
            _spectrum(middle, one, color=style.colour, lw=0.6, alpha=0.35)
        every += _spectrum(middle, pooled, color=style.colour, ls=style.dash, lw=2)
        _ecdf(right, pooled, arms[arm]["ok"] / arms[arm]["planned"], color=style.colour, ls=style.dash, lw=2)
        handles.append(Line2D([], [], color=style.colour, ls=style.dash, lw=2, label=arm))
    quantity = _LABEL[family(run)]
    log_axis(middle.yaxis, every)
    log_axis(right.xaxis, every)
    _nines(middle)
    middle.set(xlabel="percentile, on a scale of 1/(1-p)", ylabel=quantity, title="Percentile spectrum")
    right.set(xlabel=quantity, ylabel="% of planned operations", title="Ended well within this time", ylim=(0, 102))
    for axes in (middle, right):
        axes.grid(alpha=0.3)
    thin = Line2D([], [], color="#555555", lw=0.6, alpha=0.6, label="one trial")
    legend_below(found, [*outcome_handles, *handles, thin])
    return found


def _spectrum(axes: Axes, ascending: NDArray[np.float64], **how: Any) -> list[float]:
    """Draws the quantiles of sorted values that enough of them support; returns the lowest and the highest."""
    most = ascending.size / _PER_QUANTILE
    if most <= 1:
        return []
    inverse = np.geomspace(1, most, POINTS)
    rank = np.minimum(np.ceil((1 - 1 / inverse) * ascending.size).astype(np.intp), ascending.size - 1)
    values = ascending[np.maximum(rank - 1, 0)]
    shown = inverse >= 1.1
    axes.plot(inverse[shown], values[shown], **how)
    return [float(values[shown][0]), float(values[shown][-1])]


def _ecdf(axes: Axes, ascending: NDArray[np.float64], share: float, **how: Any) -> None:
    rank = np.unique(np.linspace(0, ascending.size - 1, min(ascending.size, 4 * POINTS)).astype(np.intp))
    axes.step(ascending[rank], 100 * share * (rank + 1) / ascending.size, where="post", **how)


def _nines(axes: Axes) -> None:
    high = axes.get_xlim()[1]
    axes.set_xscale("log")
    ticks = [tick for tick in _NINES if tick <= high * 1.05] or [2]
    axes.set_xlim(1.1, max(high, 2.5))
    axes.set_xticks(ticks, [_NINES[tick] for tick in ticks])
    axes.xaxis.set_minor_formatter(lambda value, _: "")
