"""What a context for each process costs: the steps of the cold start, memory, sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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
    YELLOW,
    Picture,
    Sentence,
    arm_rows,
    drawn,
    legend_below,
    look,
    order_of,
    panels,
    picture,
    spread,
    wrapped,
)
from lab.report.words import significant

if TYPE_CHECKING:
    from lab.report.loaded import Run

STEPS: Final = (
    ("load", "loading", PURPLE, "\\\\"),
    ("finalize", "C_Finalize", GREY, "--"),
    ("initialize", "C_Initialize", BLUE, ""),
    ("find_token", "token search", GREEN, ".."),
    ("open_session", "C_OpenSession", BLUE, "xx"),
    ("login", "C_Login", SKY, "//"),
    ("find_key", "key search", ORANGE, ".."),
    ("open_key", "key through the library", GREEN, "//"),
    ("tls_context", "TLS context", VERMILLION, "oo"),
    ("first_operation", "first operation", YELLOW, "xx"),
)
_BETWEEN: Final = ("between the steps", "#DDDDDD", "")


@drawn
def of_a_context(run: Run) -> Picture | Sentence:
    """For each arm, medians of the cold start's steps as a bar; the memory of a worker and the sessions, per trial."""
    arms = {name: arm for name, arm in run.summary["arms"].items() if arm["topology"]["kind"] is not None}
    frame = run.trials
    if not arms or frame.empty:
        return Sentence("The servers of this run are not the lab's, so it does not know what a context costs them.")
    names = list(arms)
    lines = sum(1 + wrapped(name).count("\n") for name in names)
    says = "What each process pays for its context: cold start in ms, memory in MiB, and sessions of the token."
    found = picture("cost", says, 1.9 + 0.2 * max(len(names), 4) + 0.1 * lines)
    left, middle, right = panels(found, 1, 3, sharey=True, gridspec_kw={"width_ratios": (1.7, 1, 1)})[0]
    steps = [step for step in STEPS if any(arm["cold_ms"][step[0]] is not None for arm in arms.values())]
    between = False
    for row, arm in enumerate(arms.values()):
        at = 0.0
        total = arm["cold_ms"]["total"]
        for step, _, colour, hatch in steps:
            length = arm["cold_ms"][step] or 0.0
            left.barh(row, length, left=at, color=colour, hatch=hatch, edgecolor="white", height=0.55)
            at += length
        if total is not None and total > at:
            left.barh(row, total - at, left=at, color=_BETWEEN[1], height=0.55)
            between, at = True, total
        unfinished = "not finished" if at else "nothing of its own"
        said = unfinished if total is None else f"{significant(at)} ms"
        left.annotate(said, (at, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
    left.set(xlabel="ms, medians over processes", title="Cold start of a process")
    left.margins(x=0.22)
    left.set_xlim(left=0)
    if not steps:
        left.set_xticks([])
    of_memory = _dots(middle, frame, arms, "pss_mib", 0)
    middle.set(xlabel="MiB (proportional set size)" if of_memory else "", title="Memory of a worker")
    if not of_memory:
        middle.text(0.5, 0.5, "was not read", transform=middle.transAxes, ha="center")
        middle.set_xticks([])
    _dots(right, frame, arms, "sessions_peak", -0.14)
    _dots(right, frame, arms, "sessions_leaked", 0.14, hollow=True)
    right.set(xlabel="sessions", title="Open at once, and leaked")
    right.xaxis.get_major_locator().set_params(integer=True)
    arm_rows(left, names)
    for axes in (left, middle, right):
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    handles: list[Any] = [Patch(facecolor=c, hatch=h, edgecolor="white", label=name) for _, name, c, h in steps]
    handles += [Patch(facecolor=_BETWEEN[1], label=_BETWEEN[0])] if between else []
    handles += [
        Line2D([], [], marker="o", ls="", color="#555555", label="one trial"),
        Line2D([], [], marker="o", ls="", mfc="white", color="#555555", label="one trial: leaked"),
    ]
    legend_below(found, handles, columns=6)
    return found


def _dots(axes: Any, frame: Any, arms: Any, column: str, beside: float, hollow: bool = False) -> bool:
    """One dot for each trial; whether there was any."""
    any_ = False
    for row, name in enumerate(arms):
        values = frame.loc[frame["arm"] == name, column].dropna().tolist()
        style = look(order_of(arms)[name])
        heights = [row + beside + offset for offset in spread(len(values), 0.13)] if values else []
        fill = {"mfc": "white", "mec": style.colour} if hollow else {"mec": "white", "mew": 0.4}
        axes.plot(values, heights, style.marker, color=style.colour, ms=5, alpha=0.75, **fill)
        any_ = any_ or bool(values)
    axes.margins(x=0.12)
    low = axes.get_xlim()[0]
    axes.set_xlim(left=min(low, 0) if column.startswith("sessions") else 0)
    if column.startswith("sessions"):
        axes.set_xlim(left=-0.04 * max(1.0, axes.get_xlim()[1]))
    return any_
