"""Where the time of a handshake went; and, of a real server that was reloaded or lost a worker, what that did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.patches import Patch

from lab.report import over_time, words
from lab.report.figures.drawing import (
    GREEN,
    GREY,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    Picture,
    Sentence,
    arm_rows,
    drawn,
    legend_below,
    panels,
    picture,
    wrapped,
)

if TYPE_CHECKING:
    from lab.report.loaded import Run

NONE: Final = Sentence("No handshake of this run could be followed from its client to its server's PKCS#11 calls.")
_PARTS: Final = {
    "late": (GREY, ".."),
    "accept": (SKY, "//"),
    "waiting": (YELLOW, "xx"),
    "software": (GREEN, ""),
    "token": (VERMILLION, "\\\\"),
    "back": (PURPLE, "--"),
}


@drawn
def where_time_went(run: Run) -> Picture | Sentence:
    """A bar for each arm: the means of the parts of its handshakes, which add up."""
    arms = {name: arm["where_ms"] for name, arm in run.summary["arms"].items() if arm["where_ms"]}
    if not arms:
        return NONE
    lines = sum(1 + wrapped(name).count("\n") for name in arms)
    found = picture("handshakes", "The parts of a handshake's time, by arm.", 1.5 + 0.3 * len(arms) + 0.12 * lines)
    axes = panels(found, 1, 1)[0, 0]
    for row, parts in enumerate(arms.values()):
        at = 0.0
        for part, (colour, hatch) in _PARTS.items():
            axes.barh(row, parts[part]["mean"], left=at, color=colour, hatch=hatch, edgecolor="white", height=0.6)
            at += parts[part]["mean"]
        said = f"{words.milliseconds(at)} ms"
        axes.annotate(said, (at, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
    arm_rows(axes, list(arms))
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set(xlabel="ms, means of handshakes that ended well", title="Where a handshake's time goes")
    legend_below(
        found,
        [Patch(facecolor=c, hatch=h, edgecolor="white", label=words.PART[part]) for part, (c, h) in _PARTS.items()],
        columns=6,
    )
    return found


@drawn
def around_a_restart(run: Run) -> Picture | Sentence:
    """Workers, sessions and failed handshakes over time, of a real server that was reloaded or lost a worker."""
    found = over_time.shown(list(run.facts.values()), list(run.summary["arms"]))
    if not found:
        return Sentence("No real server was reloaded, or lost a worker, in this run.")
    made = picture("restart", "Workers, open sessions and failed handshakes around a restart.", over_time.HEIGHT + 0.4)
    over_time.draw(made, found)
    return made
