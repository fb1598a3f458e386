"""A probe's table on the terminal: what is wrong first, then every line by its group."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.probe.examination import Examination, Examined
from lab.probe.line import Verdict
from lab.report.words import counted

VERDICTS: Final[tuple[Verdict, ...]] = ("violates", "undefined", "conforms", "not-exercised")
GROUP: Final = {
    "fork": "Fork",
    "threads": "Threads and processes that begin at once",
    "sessions": "Sessions",
    "randomness": "Random numbers and nonces",
    "claims": "What the module claims",
}
_STYLE: Final = {"violates": "bold red", "undefined": "yellow", "conforms": "green", "not-exercised": "dim"}
_TITLE_WIDTH: Final = 26


def show(found: Examination, console: Console) -> None:
    """Prints the subject, how many lines have which verdict, and the lines by group."""
    subject = found.subject
    console.print(Text(f"Probe of {subject.name}", style="bold"))
    console.print(Text(f"{subject.module}, {subject.maker} {subject.module_version}".rstrip(), style="dim"))
    if found.partial:
        console.print(Text(f"Not complete: {found.partial}.", style="yellow"))
    console.print(Text(f"{counts(found)}; {found.took_s:.0f} s"))
    for group, heading in GROUP.items():
        lines = [line for line in found.lines if line.group == group]
        if not lines:
            continue
        console.print()
        console.print(Text(heading, style="bold"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("line", max_width=_TITLE_WIDTH, overflow="fold")
        table.add_column("verdict", no_wrap=True)
        table.add_column("seen", overflow="fold")
        for line in lines:
            table.add_row(Text(line.title), Text(line.verdict, style=_STYLE[line.verdict]), Text(line.seen))
        console.print(table)


def counts(found: Examination) -> str:
    """`2 lines violate the standard, 5 undefined, 20 conform, 1 not exercised`."""
    violates, undefined, conforms, other = (len(found.of(verdict)) for verdict in VERDICTS)
    conform = "conforms" if conforms == 1 else "conform"
    violated = f"{counted(violates, 'line')} {'violates' if violates == 1 else 'violate'} the standard"
    return f"{violated}, {undefined} undefined, {conforms} {conform}, {other} not exercised"


def by_group(found: Examination) -> dict[str, list[Examined]]:
    """The lines under their groups' headings, in the order in which they are shown; no group without lines."""
    grouped = {heading: [line for line in found.lines if line.group == group] for group, heading in GROUP.items()}
    return {heading: lines for heading, lines in grouped.items() if lines}
