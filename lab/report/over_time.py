"""Panels over time, of real servers that were reloaded or lost a worker: who lived, what was open, what failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab.analysis.facts import TrialFacts
from lab.analysis.restarts import Level, OverTime

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARMS_SHOWN: Final = 4
HEIGHT: Final = 3.0
"""Of the row of panels, in inches."""

_WORKERS: Final[Any] = ("#0072B2", "-", "worker processes")
_SESSIONS: Final[Any] = ("#E69F00", "--", "open sessions")
_FAILED: Final = ("#D55E00", "failed handshakes")
_BEFORE_S: Final = 0.2  # shown of the time before the release
_BINS: Final = 60
_ROOM: Final = 1.25  # axis to the highest, so that the name of what happened has a place
_NS_PER_S: Final = 1e9

Shown = tuple[str, int, OverTime]
"""An arm's name, the number of its trial, and what went on."""


def shown(trials: Sequence[TrialFacts], arms: Sequence[str] = ()) -> list[Shown]:
    """The first such trial of each arm that is whole and valid, or else the first; in the order of the arms."""
    found: dict[str, tuple[bool, Shown]] = {}
    for trial in trials:
        over = trial.server.over_time if trial.server is not None else None
        if over is None or (over.reload_ns is None and over.kill_ns is None):
            continue
        if trial.arm not in found or (trial.usable and not found[trial.arm][0]):
            found[trial.arm] = (trial.usable, (trial.arm, trial.number, over))
    ordered = [*(arm for arm in arms if arm in found), *(arm for arm in found if arm not in arms)]
    return [found[arm][1] for arm in ordered][:ARMS_SHOWN]


def draw(figure: Any, found: Sequence[Shown]) -> None:
    """A panel for each, with one legend under all. figure: a Figure or a SubFigure."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (name, number, over) in zip(panels, found, strict=True):
        _panel(axes, over)
        axes.set_title(f"{name}, trial {number}", fontsize="medium")
    panels[0].set_ylabel("number")
    handles: list[Any] = [
        Line2D([], [], color=colour, linestyle=style, label=label) for colour, style, label in (_WORKERS, _SESSIONS)
    ]
    handles.append(Patch(facecolor=_FAILED[0], hatch="//", edgecolor="white", label=_FAILED[1]))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="x-small", frameon=False)


def _panel(axes: Axes, over: OverTime) -> None:
    from matplotlib.ticker import MaxNLocator

    begin, end = -_BEFORE_S, over.until_ns / _NS_PER_S
    failed = over.failed_ns / _NS_PER_S
    edges = _edges(max(end, _BEFORE_S))
    counts, _ = np.histogram(failed, edges)
    most = 1
    for level, (colour, style, _) in ((over.workers, _WORKERS), (over.sessions, _SESSIONS)):
        at, number = _steps(level, begin, end)
        axes.step(at, number, where="post", color=colour, linestyle=style)
        most = max(most, *number)
    if counts.any():
        _failed(axes, edges, counts)
    for what, at_ns in (("reload", over.reload_ns), ("kill", over.kill_ns)):
        if at_ns is not None:
            axes.axvline(at_ns / _NS_PER_S, color="black", linewidth=1, linestyle=":")
            axes.annotate(
                what, (at_ns / _NS_PER_S, 1), xycoords=("data", "axes fraction"), xytext=(3, -9),
                textcoords="offset points", fontsize="x-small",
            )  # fmt: skip
    axes.set_xlim(begin, end)
    axes.set_ylim(0, _ROOM * most)
    axes.set_xlabel("s after the release")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _edges(end: float) -> Any:
    """Of bins of 1, 2 or 5 times a power of ten, in s, from 0 to end or a little later; about _BINS of them."""
    power = 10.0 ** np.floor(np.log10(end / _BINS))
    width = next((power * factor for factor in (1, 2, 5) if power * factor * _BINS >= end), 10 * power)
    return width * np.arange(np.ceil(end / width) + 1)


def _failed(axes: Axes, edges: Any, counts: Any) -> None:
    """Failed handshakes on an axis of their own, behind the curves: they may be hundreds where processes are four."""
    from matplotlib.ticker import MaxNLocator

    colour = _FAILED[0]
    behind = axes.twinx()
    behind.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colour, alpha=0.5, hatch="//", edgecolor="white")
    behind.set_ylim(0, _ROOM * int(counts.max()))
    behind.set_ylabel(f"failed in {1000 * (edges[1] - edges[0]):.3g} ms", fontsize="x-small", color=colour)
    behind.tick_params(axis="y", labelsize="x-small", colors=colour)
    behind.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    behind.spines[["top"]].set_visible(False)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


def _steps(level: Level, begin: float, end: float) -> tuple[list[float], list[int]]:
    """Points of a step curve from begin to end, in s."""
    at_ns, number = level
    before = int(np.searchsorted(at_ns, int(begin * _NS_PER_S), "right"))
    after = int(np.searchsorted(at_ns, int(end * _NS_PER_S), "right"))
    first = int(number[before - 1]) if before else 0
    inside = [int(each) for each in number[before:after]]
    times = (at_ns[before:after] / _NS_PER_S).tolist()
    return [begin, *times, end], [first, *inside, inside[-1] if inside else first]
