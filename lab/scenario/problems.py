"""What is wrong with a scenario, and its one line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


@dataclass(frozen=True)
class Problem:
    key: str  # dotted, as in the file; empty for the file as a whole
    text: str
    arm: str | None = None
    given_by_set: bool = False


class ProblemsError(Exception):
    """ProblemsError that end the reading of a scenario; parse() makes them one ScenarioError."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems: tuple[Problem, ...] = problems


def dotted(path: Sequence[str | int]) -> str:
    """A path as a TOML key: ("matrix", "a.b") is matrix."a.b"."""
    return ".".join(str(part) if _BARE.match(str(part)) else json.dumps(str(part)) for part in path)


def show(value: Any) -> str:
    """A value as in the file, short, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if abs(value) >= 10**30:
            return "a number this large"
        case int() | float():
            return str(value)
        case str():
            return json.dumps(value if len(value) <= 60 else value[:57] + "...", ensure_ascii=False)
        case dict():
            return "a table"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "a date or time"


def line(file: str, problems: Sequence[Problem]) -> str:
    """`file: arm "a": key: text (and 2 more)`, of printable characters."""
    first, distinct = problems[0], len(set(problems))
    parts = [file]
    if first.arm is not None:
        parts.append(f'arm "{first.arm}"')
    if first.key:
        parts.append(f"--set {first.key}" if first.given_by_set else first.key)
    text = ": ".join([*parts, first.text]) + (f" (and {distinct - 1} more)" if distinct > 1 else "")
    return "".join(character if character.isprintable() else " " for character in text)
