"""Two runs beside each other: what became of their operations, all trials as dots, and the ratio with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lab.analysis.across_runs import FIRST, SECOND
from lab.record.folder import slug
from lab.report import words
from lab.report.figures import outcomes
from lab.report.figures.drawing import (
    GREY,
    Picture,
    Sentence,
    arm_rows,
    drawn,
    legend_below,
    log_axis,
    look,
    panels,
    picture,
    plain,
    spread,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lab.report.comparing import Pair

NAMES: Final = (FIRST, SECOND)
ARMS_IN_ONE: Final = 12
_LINE: Final = 46  # characters of a reason that stand beside each other in a panel
_LINES: Final = 5
_WIDE: Final = 62  # and in small print below an interval
_AROUND: Final = 1.6  # margins, at least, that a panel shows


@drawn
def failures(pair: Pair) -> list[Picture]:
    """A bar for each arm of each run, with what became of its operations."""
    arms = list(pair.found["arms"])
    parts = [arms[at : at + ARMS_IN_ONE] for at in range(0, len(arms), ARMS_IN_ONE)]
    return [_failures(pair, part, number) for number, part in enumerate(parts, 1)]


def _failures(pair: Pair, arms: Sequence[str], number: int) -> Picture:
    rows = {f"{arm}, {name}": pair.found["arms"][arm][name.lower()] for arm in arms for name in NAMES}
    says = f"What became of the operations of each arm, in {FIRST} and in {SECOND}."
    name = "outcomes" if number == 1 else f"outcomes-{number}"
    made = picture(name, says, 1.3 + 0.36 * len(rows))
    axes = panels(made, 1, 1)[0, 0]
    handles = outcomes.bars(axes, rows, list(rows))
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    for row in range(2, len(rows), 2):
        axes.axhline(row - 0.5, color=GREY, lw=0.5)
    legend_below(made, handles)
    return made


@drawn
def arm(pair: Pair, name: str, number: int) -> Picture | Sentence:
    """A row for each compared metric: the figure of each usable trial of both runs, and their ratio beside them.

    number: of the picture, which its file is named after.
    """
    found = [each for each in pair.found["comparisons"] if each["arm"] == name]
    if not any(figures_of(pair, run, name, each["metric"]) for each in found for run in NAMES):
        return Sentence(f"{name}: no trial that is whole and valid has a figure that is compared; see its failures.")
    says = (
        f"{name}: each trial of {FIRST} and of {SECOND} as a dot, and the ratio {SECOND} / {FIRST} with its interval."
    )
    made = picture(f"arm-{number}-{slug(name)[:60]}", says, 0.9 + 1.45 * len(found))
    made.suptitle(wrapped(name, 100), fontsize=10, fontweight="bold", parse_math=False)
    grid = panels(made, len(found), 2, gridspec_kw={"width_ratios": (1.25, 1)})
    for (left, right), each in zip(grid, found, strict=True):
        _dots(left, pair, each)
        _ratio(right, each)
    handles: list[Any] = [
        Line2D([], [], marker=look(place).marker, ls="", color=look(place).colour, label=f"one trial of {run}")
        for place, run in enumerate(NAMES)
    ]
    handles += [
        Line2D([], [], marker="|", ls="", color="black", ms=12, mew=1.4, label="geometric mean"),
        Line2D([], [], marker="D", color="black", ms=4, label="ratio, with its 95 % interval"),
        Patch(facecolor="#dddddd", label="within the margin"),
    ]
    legend_below(made, handles)
    return made


def figures_of(pair: Pair, run: str, arm: str, metric: str) -> list[float]:
    """The figure of each usable trial of an arm of run A or B, in their order; without those that lack it."""
    every = [facts.figures().get(metric) for _, facts in pair.sides[run].trials if facts.arm == arm and facts.usable]
    return [float(figure) for figure in every if figure is not None]


def _dots(axes: Axes, pair: Pair, each: Mapping[str, Any]) -> None:
    every: list[float] = []
    for row, run in enumerate(NAMES):
        values = figures_of(pair, run, each["arm"], each["metric"])
        style = look(row)
        if not values:
            axes.text(0.5, row, "no trial has this figure", transform=axes.get_yaxis_transform(), ha="center",
                      va="center", fontsize=8)  # fmt: skip
            continue
        heights = [row + offset for offset in spread(len(values))]
        axes.plot(values, heights, style.marker, color=style.colour, alpha=0.65, ms=5.5, mec="white", mew=0.4)
        if min(values) > 0:
            product = 1.0
            for value in values:
                product *= value ** (1 / len(values))
            axes.plot([product], [row], "|", color="black", ms=22, mew=1.4)
        every += values
    if every and min(every) > 0:
        log_axis(axes.xaxis, every)
    elif not every:
        axes.set_xticks([])
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(f"{words.metric(each['metric'])}{_unit(each['metric'])}", parse_math=False)
    arm_rows(axes, NAMES)


def _unit(metric: str) -> str:
    if metric == "throughput_hz":
        return ", operations per second"
    family = metric.partition(".")[0]
    return ", ms" if family.endswith("_ms") else ", MiB" if "_mib_" in metric else ""


def _ratio(axes: Axes, each: Mapping[str, Any]) -> None:
    """The ratio on a scale on which half and double are equally far from 1; or why there is none."""
    axes.set_yticks([])
    axes.set_ylim(-1, 1)
    axes.spines["left"].set_visible(False)
    title = each["verdict"] if each["verdict"] != "not-comparable" else "not comparable"
    axes.set_title(title if each["verdict"] in ("inconclusive", "not-comparable") else f"{SECOND} is {title}")
    if each["ratio"] is None:
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        reason = wrapped(str(each["because"]), _LINE).split("\n")
        shown = "\n".join([*reason[: _LINES - 1], "…"] if len(reason) > _LINES else reason)
        axes.text(0.5, 0, shown, ha="center", va="center", fontsize=8, transform=axes.get_yaxis_transform(),
                  parse_math=False)  # fmt: skip
        return
    margin, height = 1 + each["margin"], 0.0
    if each["verdict"] == "inconclusive" and each["because"]:
        height = 0.3
        axes.text(0.5, -0.6, wrapped(str(each["because"]), _WIDE), ha="center", va="center", fontsize=7.5,
                  transform=axes.get_yaxis_transform(), parse_math=False)  # fmt: skip
    ends = each["ci"] or [each["ratio"]] * 2
    axes.axvspan(1 / margin, margin, color="#dddddd", lw=0)
    axes.axvline(1, color=GREY, lw=0.8)
    axes.plot(ends, [height] * 2, "-", color="black", lw=1.6, solid_capstyle="butt")
    if each["ci"]:
        axes.plot(ends, [height] * 2, "|", color="black", ms=9, mew=1.4)
    axes.plot([each["ratio"]], [height], "D", color="black", ms=5)
    said = words.ratio(each["ratio"], each["margin"])
    axes.annotate(said, (each["ratio"], height), (0, 8), textcoords="offset points", ha="center", fontsize=8.5)
    low, high = min(margin**-_AROUND, *ends), max(margin**_AROUND, *ends)
    if high > 3 * low:
        log_axis(axes.xaxis, [low, high])
    else:
        edge = 0.06 * (high - low)
        axes.set_xlim(low - edge, high + edge)
        axes.xaxis.set_major_locator(_few_ticks())
        axes.xaxis.set_major_formatter(lambda value, _: plain(round(value, 6)))
    axes.set_xlabel(f"{SECOND} / {FIRST}")


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, steps=[1, 2, 5, 10])  # of which 1 is always one
