"""Progress of a run on stderr: a bar on a terminal, a line per trial elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from lab.plan import PlannedTrial
from lab.record.model import TrialRecord


class Progress:
    """Context manager whose trial() is told of each trial before (None) and after it (its record)."""

    def __init__(self, trials: int, quiet: bool, of: str = "") -> None:
        """of: what the trials belong to, where that is not the run: `pilot`."""
        self._trials = trials
        self._of = f"{of} " if of else ""
        self._console = Console(stderr=True, quiet=quiet)
        self._bar: Bar | None = None
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._console.quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._task = self._bar.add_task("making tokens ready", total=self._trials)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def trial(self, planned: PlannedTrial, record: TrialRecord | None) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=f"{self._of}block {planned.block}, {planned.arm}")
            if record is not None:
                self._bar.advance(self._task)
        elif record is not None:
            elapsed_s = time.monotonic() - self._started
            line = f"{self._of}trial {planned.number}/{self._trials}  {planned.arm}  {_ends(record)}  {elapsed_s:.1f} s"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _ends(record: TrialRecord) -> str:
    """What is worth a word while it runs: processes that did not come to an orderly end."""
    odd = [p.end for p in record.processes if p.end not in ("exit", "unknown") or not p.finished]
    return ", ".join(f"{odd.count(end)} {end}" for end in dict.fromkeys(odd)) or "done"
