"""How throughput and p99 grow with processes and threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from matplotlib.lines import Line2D

from lab.report.figures.drawing import Picture, Sentence, drawn, legend_below, log_axis, look, panels, picture, plain
from lab.report.figures.latency import family
from lab.report.token_grid import token_of
from lab.report.words import counted

if TYPE_CHECKING:
    from lab.report.loaded import Run

_SETTINGS: Final = ("context", "session", "locking", "bridge", "server")
_NOUN: Final = {"processes": ("process", "processes"), "threads": ("thread", "threads")}
Sizes = dict[str, dict[int, str]]
"""Of each line, by number of processes or threads, the arm."""


@drawn
def against_size(run: Run) -> Picture | Sentence:
    """Throughput and p99 of each trial against the number of processes, and against that of threads."""
    arms = {name: arm for name, arm in run.summary["arms"].items() if arm["topology"]["kind"] is not None}
    lines = {axis: _lines(arms, axis) for axis in ("processes", "threads")}
    lines = {axis: found for axis, found in lines.items() if found}
    if not lines:
        return Sentence(
            "Capacity is seen where arms differ in processes or threads and in nothing else; this run has one size "
            "of each only. A [matrix] gives several, such as that of scenarios/cost-of-a-context.toml."
        )
    trials = run.trials[run.trials["usable"]]
    found = picture(
        "capacity",
        "Operations per second and a high percentile, by processes and threads.",
        3.2 * len(lines) + 0.6,
    )
    grid = panels(found, len(lines), 2)
    of, labels = family(run), list(dict.fromkeys(label for found_ in lines.values() for label in found_))
    quantile = next((q for q in ("p99", "p90", "p50") if trials[f"{of}.{q}"].notna().any()), "p50")
    for row, (axis, sizes) in zip(grid, lines.items(), strict=True):
        for axes, metric in zip(row, ("throughput_hz", f"{of}.{quantile}"), strict=True):
            every: list[float] = []
            for label, by_size in sizes.items():
                style = look(labels.index(label))
                middle = []
                for size, name in sorted(by_size.items()):
                    values = trials.loc[trials["arm"] == name, metric].dropna()
                    if values.empty:
                        continue
                    every += values.tolist()
                    middle.append((size, float(values.median())))
                    axes.plot(
                        [size] * len(values), values, style.marker, color=style.colour, ms=4.5, alpha=0.5, mec="none"
                    )
                axes.plot([at for at, _ in middle], [v for _, v in middle], color=style.colour, ls=style.dash, lw=1.6)
            _size_axis(axes, axis, sorted({size for by_size in sizes.values() for size in by_size}))
            throughput = metric == "throughput_hz"
            name = of.removesuffix("_ms")
            axes.set(ylabel="operations per second" if throughput else f"{name} time, ms",
                     title="Throughput" if throughput else f"{name.capitalize()} time, {quantile}")  # fmt: skip
            if every and throughput:
                axes.set_ylim(0, 1.1 * max(every))
                axes.yaxis.set_major_formatter(lambda value, _: plain(value))
            elif every:
                log_axis(axes.yaxis, every)
            axes.grid(alpha=0.3)
    handles: list[Any] = [
        Line2D([], [], color=look(place).colour, marker=look(place).marker, ls=look(place).dash, label=label)
        for place, label in enumerate(labels)
    ]
    handles.append(Line2D([], [], marker="o", ls="", color="#555555", alpha=0.5, label="one trial; line: their median"))
    legend_below(found, handles, columns=3)
    return found


def _size_axis(axes: Any, axis: str, sizes: list[int]) -> None:
    if sizes[-1] >= 8 * max(sizes[0], 1):
        axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel(axis if axis == "processes" else "threads of each process")
    axes.margins(x=0.08)


def _lines(arms: Mapping[str, Any], axis: str) -> Sizes:
    """Arms that differ in this number only, by what they have in common; those with one size are left out."""
    other = "threads" if axis == "processes" else "processes"
    found: Sizes = defaultdict(dict)
    for name, arm in arms.items():
        parts = [token_of(arm) if arm["token"] else "no token", str(arm["topology"]["kind"])]
        parts += [str(arm[key]) for key in _SETTINGS if arm.get(key)]
        workload = arm["workload"]
        parts += [str(workload[key]) for key in ("kind", "key") if workload.get(key)]
        parts.append(counted(arm["topology"][other], *_NOUN[other]))
        rate = (arm.get("load") or {}).get("rate_hz")
        parts += [f"{rate:g} Hz"] if rate else []
        found[", ".join(parts)].setdefault(arm["topology"][axis], name)
    several = {label: sizes for label, sizes in found.items() if len(sizes) > 1}
    return _without_the_same(several)


def _without_the_same(lines: Sizes) -> Sizes:
    """Labels without the parts that all of them share."""
    split = {label: label.split(", ") for label in lines}
    shared = set.intersection(*(set(parts) for parts in split.values())) if len(lines) > 1 else set()
    short = {label: ", ".join(part for part in parts if part not in shared) for label, parts in split.items()}
    unique = len(set(short.values())) == len(short) and all(short.values())
    return {(short[label] if unique else label): sizes for label, sizes in lines.items()}
