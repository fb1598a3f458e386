"""Open sessions over time, per process, with what was never closed and what the token allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.lines import Line2D

from lab.report.figures.drawing import (
    BLUE,
    GREY,
    VERMILLION,
    Picture,
    Sentence,
    arm_rows,
    drawn,
    legend_below,
    look,
    panels,
    picture,
    spread,
)

if TYPE_CHECKING:
    from lab.report.loaded import Run

ARMS_SHOWN: Final = 9
_POINTS: Final = 600
_SHORT: Final = 34
_FAR: Final = 8  # a limit so many times the highest peak is shown on a logarithmic axis


@drawn
def over_time(run: Run) -> Picture | Sentence:
    """A panel for each arm: its trial that leaked most, or else its first; a line for each process, and their sum."""
    frame, trials = run.sessions, run.trials
    if frame.empty:
        return Sentence("No process of this run opened a session, so there is nothing to follow over time.")
    names = [name for name in run.summary["arms"] if (frame["arm"] == name).any()]
    shown = names[:ARMS_SHOWN]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    says = "Open sessions over time, a line for each process and one for their sum, with leaks and the token's limit."
    found = picture("sessions", says, 1.0 + 2.3 * rows)
    grid = panels(found, rows, columns)
    limited = leaking = False
    for axes, name in zip(grid.flat, shown, strict=False):
        mine = trials[trials["arm"] == name].sort_values(["sessions_leaked", "trial"], ascending=[False, True])
        mine = mine[mine["trial"].isin(frame["trial"])]
        trial, leaked = int(mine.iloc[0]["trial"]), int(mine.iloc[0]["sessions_leaked"])
        top = _panel(axes, frame[frame["trial"] == trial])
        limit = limit_of(run, name)
        if limit is not None and limit <= 4 * max(top, 1):
            axes.axhline(limit, color=VERMILLION, ls=(0, (6, 2)), lw=1.4)
            limited, top = True, max(top, limit)
        leaking = leaking or bool(leaked)
        told = f", {leaked:,} leaked" if leaked else ""
        short = name if len(name) <= _SHORT else name[: _SHORT - 1] + "…"
        axes.set_title(f"{short}\ntrial {trial}{told}", fontsize=9)
        axes.set_ylim(0, max(1.2, 1.12 * top))
        axes.set_xlabel("ms since the release")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("open sessions")
    handles = [
        Line2D([], [], color=BLUE, lw=0.9, label="one process"),
        Line2D([], [], color="black", lw=1.8, ls=(0, (4, 1)), label="all processes"),
    ]
    if leaking:
        handles.append(Line2D([], [], color=VERMILLION, marker="X", ls="", ms=7, label="never closed"))
    if limited:
        handles.append(Line2D([], [], color=VERMILLION, ls=(0, (6, 2)), label="the token's limit"))
    legend_below(found, handles)
    if len(names) > len(shown):
        found.text(0.995, 0.005, f"{len(shown)} of {len(names)} arms", ha="right", fontsize=8, color=GREY)
    return found


def _panel(axes: Any, rows: Any) -> int:
    """The lines of one trial; returns the most that were open at once."""
    times = rows["at_ms"].to_numpy()
    start, end = float(times.min()), float(times.max())
    margin = 0.04 * max(end - start, 1.0)
    at_all, change_all = [], []
    for _, mine in rows.groupby("process", sort=True):
        at, count = mine["at_ms"].to_numpy(), mine["open"].to_numpy()
        at_all.append(at)
        change_all.append(np.diff(count, prepend=0))
        if at.size > _POINTS:
            kept = np.unique(np.linspace(0, at.size - 1, _POINTS).astype(np.intp))
            at, count = at[kept], count[kept]
        last = int(count[-1])
        axes.step([*at, end + margin], [*count, last], where="post", color=BLUE, lw=0.9, alpha=0.6)
        if last:
            axes.plot([end + margin], [last], "X", color=VERMILLION, ms=7, clip_on=False, zorder=4)
    at, change = np.concatenate(at_all), np.concatenate(change_all)
    order = np.argsort(at, kind="stable")
    level = np.cumsum(change[order])
    axes.step([*at[order], end + margin], [*level, level[-1]], where="post", color="black", lw=1.6, ls=(0, (4, 1)))
    axes.set_xlim(start - margin, end + margin)
    return int(level.max())


@drawn
def peaks(run: Run) -> Picture | Sentence:
    """Most sessions at once, of each trial, against what the token says that it allows."""
    trials = run.trials
    names = [name for name in run.summary["arms"] if (trials["arm"] == name).any()]
    limits = {name: limit_of(run, name) for name in names}
    if not names or not trials["sessions_opened"].any():
        return Sentence("No process of this run opened a session, so there is no peak to hold against a limit.")
    found = picture("session-peaks", "Most sessions open at once in each trial, by arm.", 1.5 + 0.27 * len(names))
    axes = panels(found, 1, 1)[0, 0]
    for row, name in enumerate(names):
        style = look(row)
        values = trials.loc[trials["arm"] == name, "sessions_peak"].tolist()
        heights = [row + offset for offset in spread(len(values), 0.12)]
        axes.plot(values, heights, style.marker, color=style.colour, ms=6, alpha=0.75, mec="white", mew=0.4)
        limit = limits[name]
        if limit is not None:
            axes.plot([limit] * 2, [row - 0.35, row + 0.35], color=VERMILLION, lw=2.5)
        said = f" limit {limit:,}" if limit is not None else " no limit told"
        axes.annotate(said, (1, row), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    arm_rows(axes, names)
    axes.margins(x=0.08)
    numbers = [*trials["sessions_peak"].tolist(), *(limit for limit in limits.values() if limit)]
    if max(numbers) > _FAR * max(1, *trials["sessions_peak"]):
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(left=-0.02 * max(numbers) if max(numbers) < _FAR else -0.2)
    axes.grid(axis="x", alpha=0.3)
    axes.set(xlabel="sessions open at once in all processes", title="Peaks against the token's limit")
    return found


def limit_of(run: Run, arm: str) -> int | None:
    """How many sessions the arm's token says that it allows (C_GetTokenInfo); None where it tells none."""
    kind = run.summary["arms"][arm]["token"]
    said: list[Any] = [token.get("max_sessions") for token in _tokens(run.manifest) if token.get("kind") == kind]
    limits = [int(limit) for limit in said if limit]
    return min(limits) if limits else None


def _tokens(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tokens = manifest.get("tokens")
    return [token for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []
