"""`python -m lab compare RUN RUN`: the same arms in two run folders, such as of two machines. Needs no token."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lab.errors import LabFault
from lab.record import folder
from lab.report.compared import show
from lab.report.comparing import Pair, pair
from lab.report.tables import FOLDER as TABLES

COMPARE: Final = "compare.json"


def compare(first: Path, second: Path, out: Path | None) -> int:
    """Compares the second run with the first, and shows it; returns the exit status: 1 where one is not valid.

    out: a new or empty folder for compare.json, report.html, report.md, figures and tables.
    """
    from rich.console import Console

    found = pair(first, second)
    console = Console()
    written = [] if out is None else _written(found, folder.create(out, "compare", "", datetime.now(UTC), inside=()))
    show(found.found, console)
    for what, name in written:
        console.print(f"{what}: {out}/{name}", markup=False, highlight=False, soft_wrap=True)
    return 0 if found.found["valid"] else 1


def _written(found: Pair, place: Path) -> list[tuple[str, str]]:
    """Writes it all; returns what lies where."""
    from lab.report.compare_page import write  # matplotlib, which the terminal does not need

    try:
        folder.write_json(place / COMPARE, found.found)
        page = write(place, found)
    except OSError as problem:
        raise LabFault(f"{problem.filename or place}: cannot be written ({problem.strerror})") from None
    return [("written", COMPARE), ("tables", TABLES), ("report", page.name)]
