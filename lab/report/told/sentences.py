"""What first screens are made of: names in a row, a few lines of many, what became of an arm's operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from lab.report.terminal import failure
from lab.report.told.markdown import plain
from lab.report.words import counted

LINES: Final = 8  # of a kind; the tables below have all
NAMES: Final = 5  # of arms in one sentence
WORK: Final = {
    "sign": ("signature", "signatures"),
    "handshake": ("handshake", "handshakes"),
    "random": ("random output", "random outputs"),
    "session-churn": ("session", "sessions"),
    "null": ("empty operation", "empty operations"),
}


def outcome(name: str, arm: Mapping[str, Any]) -> str:
    one, many = WORK.get(arm["workload"]["kind"], ("operation", "operations"))
    if not arm["planned"]:
        told = "nothing was planned" if not arm["failures"] else f"no {one} was begun"
    elif not arm["ok"]:
        told = f"**none** of {arm['planned']:,} {many} ended well"
    elif arm["ok"] < arm["planned"]:
        told = f"{arm['ok']:,} of {arm['planned']:,} {many} ended well"
    else:
        told = f"all {arm['ok']:,} {many} ended well"
    if arm["wrong"]:
        told += f"; {counted(arm['wrong'], 'signature')} wrong"
    return f"{plain(name)}: {told}" + (f": {plain(failure(worst(arm)))}." if arm["failures"] else ".")


def worst(arm: Mapping[str, Any]) -> Mapping[str, Any]:
    """The most frequent way to die, or else the most frequent error."""
    deaths = ("signal", "hang", "exit")
    found: Mapping[str, Any] = min(arm["failures"], key=lambda each: (each["layer"] not in deaths, -each["count"]))
    return found


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(plain(name) for name in names[:NAMES])
    return shown + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")


def few(lines: list[str], what: str, most: int = LINES, plural: str | None = None) -> list[str]:
    rest = len(lines) - most
    if rest <= 0:
        return lines
    return [*lines[:most], f"and {rest} more {what if rest == 1 else plural or what + 's'}, see below."]


def once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
