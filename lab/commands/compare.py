"""`python -m lab compare RUN RUN`: the same arms in two run folders, such as of two machines. Needs no token."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lab.errors import LabFault
from lab.record import folder
from lab.report.compared import show
from lab.report.comparing import compared

COMPARE: Final = "compare.json"


def compare(first: Path, second: Path, out: Path | None) -> int:
    """Compares the second run with the first, and shows it; returns the exit status: 1 where one is not valid."""
    from rich.console import Console

    found = compared(first, second)
    console = Console()
    if out is not None:
        place = folder.create(out, "compare", "", datetime.now(UTC), inside=())
        try:
            folder.write_json(place / COMPARE, found)
        except OSError as problem:
            raise LabFault(f"{place / COMPARE}: cannot be written ({problem.strerror})") from None
    show(found, console)
    if out is not None:
        console.print(f"written: {out / COMPARE}", markup=False, highlight=False, soft_wrap=True)
    return 0 if found["valid"] else 1
