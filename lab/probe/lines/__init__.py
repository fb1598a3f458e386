"""The lines of the table, in the order in which they are shown, and their judges. Pure."""

from __future__ import annotations

from typing import Final

from lab.probe.line import Line
from lab.probe.lines import claims, fork, parent, randomness, sessions, shared, survival, threads

LINES: Final[tuple[Line, ...]] = (
    *fork.LINES,
    *parent.LINES,
    *shared.LINES,
    *survival.LINES,
    *randomness.LINES,
    *threads.LINES,
    *sessions.LINES,
    *claims.LINES,
)
