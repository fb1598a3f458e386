"""What became of the operations, which comes before every latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from matplotlib.patches import Patch

from lab.report.figures.drawing import GREEN, GREY, VERMILLION, YELLOW, arm_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTCOMES: Final = (("ok", GREEN, ""), ("fail", VERMILLION, "//"), ("info", YELLOW, "xx"), ("shed", GREY, ".."))


def bars(axes: Axes, arms: Mapping[str, Any], names: Sequence[str]) -> list[Patch]:
    """A bar for each arm, in percent of what was planned, with the share that ended well beside it."""
    for row, name in enumerate(names):
        arm, left = arms[name], 0.0
        for outcome, colour, hatch in OUTCOMES:
            share = 100 * arm[outcome] / (arm["planned"] or 1)
            axes.barh(row, share, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.5)
            left += share
        axes.text(102, row, percent(arm["ok"], arm["planned"]), va="center", fontsize=8.5)
    axes.set(xlim=(0, 100), xlabel="% of planned operations", title="What became of them")
    arm_rows(axes, names)
    shown = [look for look in OUTCOMES if any(arms[name][look[0]] for name in names)]
    return [Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name) for name, colour, hatch in shown]


def percent(part: int, whole: int) -> str:
    """Rounded, but never to all or nothing where it is not."""
    if not whole:
        return "none begun"
    if part in (0, whole):
        return "all ok" if part else "none ok"
    return f"{min(99.9, max(0.1, 100 * part / whole)):.3g} % ok"
