"""One picture of a run: what became of each operation, what each process paid once, how long operations took, and of
handshakes, where their time went.

Colours are Okabe and Ito's (readable with any colour vision), and differ in lightness and hatching, for grey print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab.analysis.facts import TrialFacts
from lab.report import words
from lab.report.words import milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    ("login", "C_Login", "#56B4E9", "//"),
    ("find_key", "key search", "#E69F00", ".."),
    ("open_key", "key through the library", "#009E73", "//"),
    ("tls_context", "TLS context", "#D55E00", "oo"),
    ("first_operation", "first operation", "#F0E442", "xx"),
)
_PARTS: Final = {
    "late": ("#999999", ".."),
    "accept": ("#56B4E9", "//"),
    "waiting": ("#F0E442", "xx"),
    "software": ("#009E73", ""),
    "token": ("#D55E00", "\\\\"),
    "back": ("#CC79A7", "--"),
}
_TWO_DECADES: Final = 100  # numbers at 1, 2 and 5 of more than these would run into each other
_QUANTILES: Final = (("p50", "o", "#0072B2"), ("p99", "D", "#D55E00"))


def draw(summary: Mapping[str, Any], trials: Sequence[TrialFacts], file: Path) -> None:
    """Writes the picture of a summary (DESIGN 6.3) and its trials; the file's ending chooses PNG or SVG."""
    from matplotlib.figure import Figure

    arms = list(summary["arms"])
    told = any(arm["where_ms"] for arm in summary["arms"].values())
    figure = Figure(figsize=(14.5 if told else 11, _height(len(arms))), layout="constrained")
    panels = figure.subplots(1, 4 if told else 3, sharey=True)
    _outcomes(panels[0], summary["arms"])
    _cold(panels[1], summary["arms"])
    _times(panels[2], summary["arms"], trials)
    if told:
        _where(panels[3], summary["arms"])
    panels[0].set_yticks(range(len(arms)), arms)
    panels[0].invert_yaxis()
    if told:  # room for the failures under the last bar
        panels[0].set_ylim(len(arms) - 0.3, -0.6)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    figure.suptitle(summary["question"] or summary["scenario"], fontsize="large")
    figure.savefig(
        file, dpi=110, bbox_inches="tight", metadata={"Software": None} if file.suffix == ".png" else {"Date": None}
    )


def _below(arms: Mapping[str, Any]) -> float:
    """Where legends begin, in heights of a panel: a panel grows with its arms, the room under it does not."""
    return -0.32 * min(1.0, _height(3) / _height(len(arms)))


def _height(arms: int) -> float:
    """Of the picture, in inches."""
    return 1.9 + 0.55 * arms


def _outcomes(axes: Axes, arms: Mapping[str, Any]) -> None:
    for row, arm in enumerate(arms.values()):
        left = 0.0
        for name, colour, hatch in _OUTCOMES:
            share = 100 * arm[name] / arm["planned"] if arm["planned"] else 0.0
            label = name if row == 0 else None
            axes.barh(row, share, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.55, label=label)
            left += share
        axes.text(1, row + 0.29, _failures(arm), fontsize="x-small", va="top")
    axes.set(xlim=(0, 100), xlabel="operations, %", title="What became of them")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, _below(arms)), ncols=4, fontsize="x-small", frameon=False)


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
    for row, arm in enumerate(arms.values()):
        left = 0.0
        for step, name, colour, hatch in steps:
            value_ms = arm["cold_ms"][step] or 0.0
            label = name if row == 0 else None
            axes.barh(row, value_ms, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.55, label=label)
            left += value_ms
        pss_mib = arm["processes"]["pss_mib_p50"]
        memory = [] if pss_mib is None else [f"{pss_mib:.1f} MiB"]
        total_ms = arm["cold_ms"]["total"]
        ours = arm["topology"]["kind"] is not None
        nothing = "nothing of its own" if ours else "not the lab's server"
        paid = nothing if total_ms is None else f"{total_ms:.1f} ms in all"
        axes.text(left, row, " " + ", ".join([paid, *memory]), fontsize="x-small")
    axes.margins(x=0.35)
    axes.set(xlabel="ms, median over processes; memory is PSS", title="What each process pays once")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, _below(arms)), ncols=3, fontsize="x-small", frameon=False)


def _times(axes: Axes, arms: Mapping[str, Any], trials: Sequence[TrialFacts]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    family = "response_ms" if any(arm["response_ms"]["p50"] is not None for arm in arms.values()) else "service_ms"
    figures = [(trial.arm, trial.figures()) for trial in trials if trial.usable]
    labelled: set[str] = set()
    for row, (name, arm) in enumerate(arms.items()):
        for quantile, marker, colour in _QUANTILES:
            found = [figure.get(f"{family}.{quantile}") for of, figure in figures if of == name]
            values = [value for value in found if value is not None]
            if values:
                label = None if quantile in labelled else f"{quantile} of each trial"
                labelled.add(quantile)
                axes.plot(values, [row] * len(values), marker, color=colour, alpha=0.5, ms=5, label=label)
        if not arm["ok"]:
            axes.text(
                0.5, row, "none ended well", fontsize="x-small", transform=axes.get_yaxis_transform(), ha="center"
            )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < _TWO_DECADES * low else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=f"{family.removesuffix('_ms')}, ms", title="How long an operation takes")
    axes.grid(axis="x", which="both", alpha=0.25)
    if labelled:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, _below(arms)), ncols=2, fontsize="x-small", frameon=False)


def _where(axes: Axes, arms: Mapping[str, Any]) -> None:
    for row, arm in enumerate(arms.values()):
        if arm["where_ms"] is None:
            continue
        left = 0.0
        for part, (colour, hatch) in _PARTS.items():
            mean_ms = arm["where_ms"][part]["mean"]
            axes.barh(row, mean_ms, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.55)
            left += mean_ms
        axes.text(left, row, f" {milliseconds(left)} ms", fontsize="x-small", va="center")
    for part, (colour, hatch) in _PARTS.items():  # the first arm may have none of them
        axes.barh(0, 0, color=colour, hatch=hatch, edgecolor="white", label=words.PART[part])
    axes.margins(x=0.2)
    axes.set(xlabel="ms, means", title="Where a handshake's time goes")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, _below(arms)), ncols=3, fontsize="x-small", frameon=False)
