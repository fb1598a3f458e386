"""The lines of the table, in the order in which they are shown, and their judges. Pure."""

from __future__ import annotations

from typing import Final

from lab.probe.line import Line
from lab.probe.lines import fork

LINES: Final[tuple[Line, ...]] = fork.LINES
