"""One picture of a run: what became of each operation, what each process paid once, how long operations took, and of
handshakes, where their time went. Of real servers that were reloaded or lost a worker, how that went, over time.

Colours are Okabe and Ito's (readable with any colour vision), and differ in lightness and hatching, for grey print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab.analysis.facts import TrialFacts
from lab.report import over_time, words
from lab.report.words import milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OUTCOMES: Final = (
    ("ok", "#009E73", ""),
    ("fail", "#D55E00", "//"),
    ("info", "#F0E442", "xx"),
    ("shed", "#999999", ".."),
)
_COLD: Final = (
    ("load", "loading", "#CC79A7", "\\\\"),
    ("finalize", "C_Finalize", "#999999", "--"),
    ("initialize", "C_Initialize", "#0072B2", ""),
    ("find_token", "token search", "#009E73", ".."),
    ("open_session", "C_OpenSession", "#0072B2", "xx"),
    ("login", "C_Login", "#56B4E9", "//"),
    ("find_key", "key search", "#E69F00", ".."),
    ("open_key", "key through the library", "#009E73", "//"),
    ("tls_context", "TLS context", "#D55E00", "oo"),
    ("first_operation", "first operation", "#F0E442", "xx"),
)
_BETWEEN: Final = ("between the steps", "#DDDDDD", "")
_PARTS: Final = {
    "late": ("#999999", ".."),
    "accept": ("#56B4E9", "//"),
    "waiting": ("#F0E442", "xx"),
    "software": ("#009E73", ""),
    "token": ("#D55E00", "\\\\"),
    "back": ("#CC79A7", "--"),
}
_TICKS: Final = 8  # more numbers than these would run into each other
_CAPTION: Final = 48  # characters at x-small that a panel has room for
_BELOW: Final = 0.5  # inches from axes to legend: numbers and the label of the axis lie between
_CUT_ABOVE: Final = 4  # a bar so many times the second longest hides the others
_ROOM: Final = 1.6  # axis to longest bar whole: its label is beside it
_QUANTILES: Final = (("p50", "o", "#0072B2"), ("p99", "D", "#D55E00"))


def draw(summary: Mapping[str, Any], trials: Sequence[TrialFacts], file: Path) -> None:
    """Writes the picture of a summary (DESIGN 6.3) and its trials; the file's ending chooses PNG or SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False}):  # a dollar in a question or in an error's text is a dollar
        figure = Figure(layout="constrained")
        fill(figure, summary, trials)
        figure.savefig(
            file, dpi=110, bbox_inches="tight", metadata={"Software": None} if file.suffix == ".png" else {"Date": None}
        )


def fill(figure: Figure, summary: Mapping[str, Any], trials: Sequence[TrialFacts]) -> None:
    """Draws it in an empty figure, whose size it sets."""
    arms = list(summary["arms"])
    told = any(arm["where_ms"] for arm in summary["arms"].values())
    height = 2.4 + max(0.55 * len(arms), 1.2)
    changed = over_time.shown(trials, arms)
    lower = over_time.HEIGHT if changed else 0.0
    figure.set_size_inches(14.5 if told else 11, height + lower)
    upper: Any = figure
    if changed:
        upper, below = (row for row in np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=(height, lower)))))
        over_time.draw(below, changed)
    panels = upper.subplots(1, 4 if told else 3, sharey=True)
    _outcomes(panels[0], summary["arms"])
    _cold(panels[1], summary["arms"])
    _times(panels[2], summary["arms"], trials)
    if told:
        _where(panels[3], summary["arms"])
    panels[0].set_yticks(range(len(arms)), arms)
    panels[0].set_ylim(len(arms) - 0.3, -0.6)  # the first arm on top, room for the failures under the last
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    figure.suptitle(title(summary), fontsize="large")


def title(summary: Mapping[str, Any]) -> str:
    """The question, and what a reader must know before any figure."""
    marks = ["interrupted"] if summary.get("partial") else []
    marks += [] if summary["valid"] else ["invalid, do not rely on it"]
    return str(summary["question"] or summary["scenario"]) + (f" ({'; '.join(marks)})" if marks else "")


def caption(text: str) -> str:
    """A line that fits into its panel."""
    return text if len(text) <= _CAPTION else text[: _CAPTION - 1].rstrip(" ,(") + "…"


def log_axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Ends and ticks of an axis for these: a decade or more, so that what hardly differs does not look as if it did."""
    low, high = min(values) / 1.2, max(values) * 1.2
    if high < 10 * low:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(10), middle * math.sqrt(10)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1,)):
        every = (float(f"{step}e{decade}") for decade in decades for step in steps)
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) <= _TICKS:
            break
    return low, high, ticks[:: math.ceil(len(ticks) / _TICKS)]


def bar_limit(lengths: Sequence[float], room: float = _ROOM) -> float:
    """Where the axis of bars ends: beyond the longest, or, where that would hide the others, the second longest."""
    longest, second = sorted([0.0, 0.0, *lengths])[:-3:-1]
    return _ROOM * second if second and longest > _CUT_ABOVE * second else room * longest


def _bar(axes: Axes, row: int, parts: Sequence[tuple[float, str, str, str]]) -> float:
    """Draws lengths with name, colour and hatch one behind the other; returns where the last ends."""
    left = 0.0
    for length, name, colour, hatch in parts:
        label = name if row == 0 else None
        axes.barh(row, length, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.55, label=label)
        left += length
    return left


def _label(axes: Axes, bars: Sequence[tuple[int, float, str]], room: float = _ROOM) -> None:
    """Ends the axis, and labels bars (row, length, text): beside them, or, of a bar that is cut, inside at an arrow."""
    limit = bar_limit([length for _, length, _ in bars], room)
    for row, length, text in bars:
        if length <= limit:
            axes.text(length, row, f" {text}", fontsize="x-small", va="center")
            continue
        axes.plot([limit], [row], ">", color="black", ms=6, clip_on=False, zorder=3)
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
        axes.text(0.96 * limit, row, text, fontsize="x-small", va="center", ha="right", bbox=box)
    if limit:
        axes.set_xlim(0, limit)
    else:
        _no_axis(axes)


def _no_axis(axes: Axes) -> None:
    """Nothing was measured here: no numbers."""
    axes.set(xlim=(0, 1), xlabel="")
    axes.set_xticks([])


def _legend(axes: Axes, columns: int) -> None:
    """Under the axes, at a distance that does not depend on their height; patches large enough for hatches."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure(root=True)
    if figure is None or not axes.get_legend_handles_labels()[0]:
        return
    below = axes.transAxes + ScaledTranslation(0, -_BELOW, figure.dpi_scale_trans)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, ncols=columns, fontsize="x-small",
        frameon=False, handlelength=2.8, handleheight=1.5, columnspacing=1.2,
    )  # fmt: skip


def _outcomes(axes: Axes, arms: Mapping[str, Any]) -> None:
    for row, arm in enumerate(arms.values()):
        share = 100 / (arm["planned"] or 1)
        _bar(axes, row, [(share * arm[name], name, colour, hatch) for name, colour, hatch in _OUTCOMES])
        axes.text(1, row + 0.29, caption(_failures(arm)), fontsize="x-small", va="top")
    axes.set(xlim=(0, 100), xlabel="operations, %", title="What became of them")
    _legend(axes, 4)


def _failures(arm: Mapping[str, Any]) -> str:
    """The most frequent way to die, and the most frequent error: one crash outweighs a thousand errors.

    What a server saw is told where its clients failed too: otherwise it was of strangers.
    """
    failures = [failure for failure in arm["failures"] if arm["fail"] or failure["side"] != "server"]
    deaths = [failure for failure in failures if failure["layer"] in ("signal", "hang", "exit")]
    errors = [failure for failure in failures if failure not in deaths]
    named = [max(kind, key=lambda failure: failure["count"]) for kind in (deaths, errors) if kind]
    return ", ".join(f"{f['code']} ({f['processes']} proc.)" for f in named)


def _cold(axes: Axes, arms: Mapping[str, Any]) -> None:
    steps = [step for step in _COLD if any(arm["cold_ms"][step[0]] is not None for arm in arms.values())]
    axes.set(xlabel="ms, median over processes; memory is PSS", title="What each process pays once")
    bars = []
    for row, arm in enumerate(arms.values()):
        parts = [(arm["cold_ms"][step] or 0.0, name, colour, hatch) for step, name, colour, hatch in steps]
        total_ms = arm["cold_ms"]["total"]
        if steps:
            parts.append((max(0.0, (total_ms or 0.0) - sum(part[0] for part in parts)), *_BETWEEN))
        pss_mib = arm["processes"]["pss_mib_p50"]
        memory = [] if pss_mib is None else [f"{pss_mib:.1f} MiB"]
        ours = arm["topology"]["kind"] is not None
        begun = any(length for length, *_ in parts)
        nothing = ("not finished" if begun else "nothing of its own") if ours else "not the lab's server"
        paid = nothing if total_ms is None else f"{total_ms:.1f} ms in all"
        bars.append((row, _bar(axes, row, parts), ", ".join([paid, *memory])))
    _label(axes, bars)
    _legend(axes, 3)


def _times(axes: Axes, arms: Mapping[str, Any], trials: Sequence[TrialFacts]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    family = "response_ms" if any(arm["response_ms"]["p50"] is not None for arm in arms.values()) else "service_ms"
    figures = [(trial.arm, trial.figures()) for trial in trials if trial.usable]
    labelled: set[str] = set()
    every: list[float] = []
    for row, (name, arm) in enumerate(arms.items()):
        for quantile, marker, colour in _QUANTILES:
            found = [figure.get(f"{family}.{quantile}") for of, figure in figures if of == name]
            values = [value for value in found if value is not None]
            every += values
            if values:
                label = None if quantile in labelled else f"{quantile} of each trial"
                labelled.add(quantile)
                axes.plot(values, [row] * len(values), marker, color=colour, alpha=0.5, ms=5, label=label)
        if not arm["ok"] or all(of != name for of, _ in figures):
            why = "no trial that is whole and valid" if arm["ok"] else "none ended well"
            axes.text(0.5, row, why, fontsize="x-small", transform=axes.get_yaxis_transform(), ha="center")
    axes.set(xlabel=f"{family.removesuffix('_ms')}, ms", title="How long an operation takes")
    if not every:
        _no_axis(axes)
        return
    low, high, ticks = log_axis(every)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", which="both", alpha=0.25)
    _legend(axes, 2)


def _where(axes: Axes, arms: Mapping[str, Any]) -> None:
    axes.set(xlabel="ms, means", title="Where a handshake's time goes")
    bars = []
    for row, arm in enumerate(arms.values()):
        means = {part: arm["where_ms"][part]["mean"] if arm["where_ms"] else 0.0 for part in _PARTS}
        end = _bar(axes, row, [(means[part], words.PART[part], *look) for part, look in _PARTS.items()])
        if arm["where_ms"]:
            bars.append((row, end, f"{milliseconds(end)} ms"))
    _label(axes, bars, room=1.25)
    _legend(axes, 3)
