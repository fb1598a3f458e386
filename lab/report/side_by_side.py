"""Arms side by side: a column for each where they fit, otherwise a row for each, in as many tables as it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

SIDE_BY_SIDE: Final = 4  # arms; with more, each arm is a row

Arm = Mapping[str, Any]
Line = tuple[str, Callable[[Arm], str]]


def grid(console: Console, title: str, arms: Mapping[str, Arm], lines: Sequence[Line]) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    table(console, arms, lines)


def table(console: Console, arms: Mapping[str, Arm], lines: Sequence[Line]) -> None:
    """Arms as columns where they are few and their columns fit, otherwise as rows."""
    names = list(arms)
    few = len(names) <= SIDE_BY_SIDE
    if few and _width(arms, lines) <= console.width:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("", no_wrap=True)
        for name in names:
            table.add_column(Text(name), justify="right", overflow="fold")
        for label, text in lines:
            table.add_row(label, *(Text(text(arms[name])) for name in names))
        console.print(table)
        return
    for part in _parts(arms, lines, console.width):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("arm", overflow="fold", width=_names_width(arms, console.width))
        for line in part:
            table.add_column(Text(line[0]), justify="right", overflow="fold", width=_least_width(arms, line))
        for name in names:
            table.add_row(Text(name), *(Text(text(arms[name])) for _, text in part))
        console.print(table)


def _width(arms: Mapping[str, Arm], lines: Sequence[Line]) -> int:
    columns = [max(len(name), *(len(text(arm)) for _, text in lines)) for name, arm in arms.items()]
    return max(len(label) for label, _ in lines) + sum(width + 3 for width in columns)


def _parts(arms: Mapping[str, Arm], lines: Sequence[Line], width: int) -> list[list[Line]]:
    """The lines in groups whose columns fit beside the arms' names; a heading may be wrapped at its spaces."""
    room = width - _names_width(arms, width)
    parts: list[list[Line]] = []
    used = 0
    for line in lines:
        needed = 3 + _least_width(arms, line)
        if not parts or used + needed > room:
            parts.append([])
            used = 0
        parts[-1].append(line)
        used += needed
    return parts


def _names_width(arms: Mapping[str, Arm], width: int) -> int:
    return min(max(map(len, arms)), width // 3)


def _least_width(arms: Mapping[str, Arm], line: Line) -> int:
    label, text = line
    return max(min(len(label), 8), *(len(word) for word in label.split()), *(len(text(arm)) for arm in arms.values()))
