"""Markdown that notebooks show as it is and pages turn into HTML. What came from a run is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~&$])")


class Told(str):
    """Markdown."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


def plain(text: object) -> str:
    """Text that says in Markdown what it says."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], right: int = 0) -> str:
    """A table; cells are escaped. right: how many of the last columns are numbers."""
    left = len(header) - right
    lines = [
        "| " + " | ".join(plain(cell) or " " for cell in header) + " |",
        "| " + " | ".join("---" if place < left else "---:" for place in range(len(header))) + " |",
    ]
    lines += ["| " + " | ".join(plain(cell) or " " for cell in row) + " |" for row in rows]
    return "\n".join(lines)
