"""Two runs against each other, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from lab.analysis.across_runs import FIRST, SECOND
from lab.report import doubtful, words
from lab.report.side_by_side import Arm, Line, grid
from lab.report.terminal import STYLE, bullet
from lab.report.words import count, milliseconds, significant

DIFFERENCES_SHOWN: Final = 30
_LONG: Final = 24  # characters of a value; hashes are cut


def show(found: Mapping[str, Any], console: Console) -> None:
    """Prints what comparing.compared() found; missing values as n/a."""
    console.print(Text(f"{SECOND} against {FIRST}", style="bold"))
    for name in (FIRST, SECOND):
        run = found[name.lower()]
        console.print(Text(f"{name}: run {run['run']}, {run['scenario']}, seed {run['seed']}", style="dim"))
    if found["a"]["question"]:
        console.print(Text(found["a"]["question"], style="italic"))
    for name in (FIRST, SECOND):
        if found[name.lower()]["partial"]:
            console.print(Text(f"{name} was interrupted, or trials are missing.", style="yellow"))
    if found["valid"]:
        console.print(Text("Both runs are valid.", style="green"))
    else:
        console.print(Text("Not valid, do not rely on the figures:", style="bold red"))
        for reason in found["invalid_because"]:
            bullet(console, Text(reason))
    _differences(found, console)
    for arm, sides in found["arms"].items():
        grid(console, arm, {FIRST: sides["a"], SECOND: sides["b"]}, _lines(sides))
    _doubtful(found, console)
    _comparisons(found, console)


def _differences(found: Mapping[str, Any], console: Console) -> None:
    console.print()
    console.print(Text("What differs besides the figures", style="bold"))
    for line in found["unknown"]:
        bullet(console, Text(line, style="yellow"))
    for name, arms in found["only_in"].items():
        if arms:
            bullet(console, Text(f"only in {name}: {', '.join(arms)}", style="yellow"))
    told = found["differs"]
    for each in told[:DIFFERENCES_SHOWN]:
        bullet(console, Text(f"{each['key']}: {_short(each['a'])} and {_short(each['b'])}"))
    if len(told) > DIFFERENCES_SHOWN:
        bullet(console, Text(f"and {len(told) - DIFFERENCES_SHOWN} more, in compare.json"))
    if not told and not found["unknown"]:
        console.print("  nothing that is known")


def _doubtful(found: Mapping[str, Any], console: Console) -> None:
    lines = [
        f"{arm} in {name}: {what}{f' ({evidence})' if evidence else ''}"
        for name in (FIRST, SECOND)
        for arm, what, evidence in doubtful.told({arm: sides[name.lower()] for arm, sides in found["arms"].items()})
    ]
    if lines:
        console.print()
        console.print(Text(doubtful.TITLE, style="bold"))
    for line in lines:
        bullet(console, Text(line))


def _short(value: Any) -> str:
    text = words.MISSING if value is None else str(value)
    return text if len(text) <= 2 * _LONG or " " in text else f"{text[:_LONG]}..."


def _quantile(group: str, name: str) -> Line:
    title = f"{group.removesuffix('_ms')} {name}, ms"
    return title, lambda arm: milliseconds((arm.get(group) or {}).get(name))


_COUNTS: Final[tuple[Line, ...]] = (
    ("trials", lambda arm: count(arm["trials"])),
    ("ok", lambda arm: count(arm["ok"])),
    ("fail, info, shed", lambda arm: f"{arm['fail']:,}, {arm['info']:,}, {arm['shed']:,}"),
    ("workers crashed, hung", lambda arm: f"{arm['processes']['crashed']:,}, {arm['processes']['hung']:,}"),
    ("rules broken", lambda arm: count(sum(rule["verdict"] == "violates" for rule in arm["rules"].values()))),
)
_FIGURES: Final[tuple[Line, ...]] = (
    ("throughput, Hz", lambda arm: significant(arm["throughput_hz"])),
    *(_quantile("response_ms", name) for name in ("p50", "p99")),
    *(_quantile("service_ms", name) for name in ("p50", "p99")),
    _quantile("cold_ms", "total"),
    ("memory per process, MiB", lambda arm: significant(arm["processes"]["pss_mib_p50"])),
)


def _lines(sides: Mapping[str, Arm]) -> list[Line]:
    """Counts, and those figures that one of the two has."""
    figures = [line for line in _FIGURES if any(line[1](arm) != words.MISSING for arm in sides.values())]
    return [*_COUNTS, *figures]


def _comparisons(found: Mapping[str, Any], console: Console) -> None:
    console.print()
    console.print(Text(f"{SECOND} / {FIRST}, trials not paired [95 % interval]", style="bold"))
    told = "It tells these two runs apart, and not how much of it another run there would show again."
    console.print(Text(told, style="dim"))
    lines: dict[str, str] = {}
    for each in found["comparisons"]:
        if each["verdict"] == "not-comparable":
            lines[f"{each['arm']}: cannot be compared: {each['because']}"] = "yellow"
        else:
            told = words.comparison({**each, "arm": SECOND, "baseline": FIRST})
            lines[f"{each['arm']}: {told}"] = STYLE.get(each["verdict"], "default")
    for text, style in lines.items():
        bullet(console, Text(text, style=style))
