"""A traced program on the terminal: its processes and what they made of PKCS#11, and its calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lab.report.words import counted, milliseconds

PROCESSES_SHOWN: Final = 24

_LOCKING: Final = {
    "null_argument": "NULL",
    "no_flags": "no flags",
    "os": "OS locking",
    "callbacks": "callbacks",
    "os_and_callbacks": "OS locking, callbacks",
}


def is_trace(summary: Mapping[str, Any]) -> bool:
    """Whether a summary (DESIGN 6.3) is that of a traced program."""
    return any("traced" in arm for arm in summary["arms"].values())


def tables(name: str, arm: Mapping[str, Any], width: int) -> Iterator[tuple[str, RenderableType]]:
    """Title and body of each part. width: columns of the terminal."""
    found = arm["traced"]
    processes: Sequence[Mapping[str, Any]] = found["processes"]
    callers = [process for process in processes if process["calls"]]
    if not callers:
        yield f"{name}: no process called PKCS#11 through the tap", Text(NO_CALLS)
        return
    quiet = [process for process in processes if not process["calls"]]
    title = f"Processes of {name} that called PKCS#11"
    if quiet:
        title += f" (process 0, {quiet[0]['program'] or 'the program itself'}, did not)"
    yield title, _processes(callers)
    yield "How each came by its context", _contexts(callers)
    yield "Calls, in ms", _calls(found["calls"])


NO_CALLS: Final = (
    "Where a program reads the module's path in a file of its own, let that file name the tap, whose path stands above."
)


def _processes(processes: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("", "pid", "program"):
        table.add_column(heading, no_wrap=heading != "program", overflow="fold")
    for heading in ("calls", "errors", "threads", "sessions / leaked"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("end", overflow="fold")
    for process in processes[:PROCESSES_SHOWN]:
        sessions = process["sessions"]
        table.add_row(
            *(str(process["process"]), str(process["pid"]), Text(process["program"] or "?")),
            *(f"{process['calls']:,}", f"{process['errors']:,}", str(process["threads"])),
            *(f"{sessions['opened']:,} / {sessions['leaked']:,}", Text(_end(process))),
        )
    if len(processes) > PROCESSES_SHOWN:
        table.add_row("", "", f"and {len(processes) - PROCESSES_SHOWN:,} more, in summary.json")
    return table


def _contexts(processes: Sequence[Mapping[str, Any]]) -> Table:
    """What each process did, said once for all that did the same."""
    alike: dict[str, list[int]] = {}
    for process in processes:
        alike.setdefault(context_of(process), []).append(process["process"])
    table = Table.grid(padding=(0, 0))
    table.add_column(width=2)
    table.add_column(overflow="fold")
    for text, indices in alike.items():
        who = "process" if len(indices) == 1 else "processes"
        table.add_row("-", Text(f"{who} {ranges(indices)}: ", style="bold").append(text, style="not bold"))
    return table


def ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"; numbers ascend."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def context_of(process: Mapping[str, Any]) -> str:
    """Whose context a process worked in, and what C_Initialize was told."""
    tried = [_initialised(each) for each in process["initialized"]]
    if not process["inherited_calls"]:
        return "; ".join(tried) or "none"
    before = counted(process["inherited_calls"], "call")
    if not tried:
        return f"inherited: {before} and no C_Initialize"
    return f"inherited for {before}; {'; '.join(tried)}"


def _initialised(each: Mapping[str, Any]) -> str:
    text = f"C_Initialize({_LOCKING.get(each['locking'], each['locking'])})"
    if each["changed_by_tap"]:
        text += ", changed by the tap"
    if each["count"] > 1:
        text += f", {each['count']:,} times"
    return text if each["answer"] == "CKR_OK" else f"{text}: {each['answer']}"


def _end(process: Mapping[str, Any]) -> str:
    if process["unfinished"]:
        return f"in {process['unfinished']}"
    ends: dict[str, str] = {
        "exit": f"exit {process['status']}",
        "signal": f"signal {process['status']}",
        "cut-off": "ended by you",
        "unknown": "",  # its parent waited for it, and only that one knows
    }
    return ends.get(process["end"], str(process["end"]))


def _calls(calls: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("function", no_wrap=True)
    for heading in ("count", "errors", "p50", "p99", "max", "total"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, found in sorted(calls.items(), key=lambda item: -item[1]["total"]):
        figures = (milliseconds(found[figure]) for figure in ("p50", "p99", "max", "total"))
        table.add_row(Text(name), f"{found['count']:,}", f"{found['errors']:,}", *figures)
    return table
