"""A calibration on the terminal, and the line by which a report cites it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.errors import LabFault, ScenarioError
from lab.record import calibrations
from lab.record.run import Run
from lab.report.words import significant

CITED_SERVICE: Final = "1"
"""ms of the service whose recovery is cited."""
NOT_CALIBRATED: Final = (
    "There is no calibration here of the machine that this was measured on; python -m lab calibrate makes one there."
)
TITLE: Final = {
    "account": "Everything accounted for",
    "floor": "What the lab costs",
    "tap": "What the tap costs",
    "service": "Services that are known",
    "stall": "A stall that is known",
    "queue": "Queues, by theory",
    "count": "Counted five ways",
    "same": "Two arms that are the same",
}


def of_machine(run_path: Path) -> dict[str, Any] | None:
    """The newest calibration of the machine that a run was measured on; None where there is none here."""
    try:
        machine = Run.open(run_path).manifest.get("machine")
    except (ScenarioError, LabFault):  # what is left of a damaged run
        return None
    return None if machine is None else calibrations.newest(machine, run_path)


def cited(run_path: Path, summary: Mapping[str, Any]) -> str | None:
    """The line that cites it. It is for no file that has to be the same twice: report.html and .md need not be."""
    if (found := of_machine(run_path)) is None:
        return None
    return cite(found, [arm["topology"]["kind"] for arm in summary["arms"].values()])


def cite(found: Mapping[str, Any], topologies: Iterable[str | None] = ()) -> str:
    """The line for a report of a run with these topologies, the first of which that was calibrated is named."""
    floors: Mapping[str, float] = found["figures"]["floor_us"]
    topology = next((kind for kind in topologies if kind in floors), "prefork" if "prefork" in floors else None)
    said = []
    if topology is not None:
        said.append(f"the lab's own floor is {significant(floors[topology])} µs per operation in {topology}")
    if (tap := found["figures"]["tap_us"]) is not None:
        said.append(f"the tap adds {significant(tap)} µs per call")
    if (error := found["figures"]["service_error"].get(CITED_SERVICE)) is not None:
        said.append(f"a service of {CITED_SERVICE} ms was recovered within {significant(100 * error)} %")
    failed = [check["name"] for check in found["checks"] if check["passed"] is False]
    if failed:
        said.append(f"{len(failed)} of {len(found['checks'])} checks failed ({', '.join(failed)})")
    return f"calibrated {str(found['utc'])[:10]}: {', '.join(said)}"


def show(checks: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Every check, under the title of its part: what was measured, and what was wanted."""
    part = None
    for check in checks:
        if check["part"] != part:
            part = check["part"]
            console.print()
            console.print(_row("", TITLE[part], "measured", "wanted", "bold"))
        word, style = {True: ("pass", "green"), False: ("FAIL", "bold red"), None: ("", "")}[check["passed"]]
        console.print(_row(Text(word, style=style), check["name"], check["measured"], check["wanted"]))
        if check["told"]:
            console.print(Padding(Text(check["told"], style="dim"), (0, 0, 0, 6)))


def _row(word: str | Text, name: str, measured: str, wanted: str, style: str = "") -> Table:
    row = Table.grid(padding=(0, 2))
    for width in (4, 29, 22, 19):
        row.add_column(width=width)
    row.add_row(word, *(Text(text, style=style) for text in (name, measured, wanted)))
    return row
