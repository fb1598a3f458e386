"""Progress of a probe on stderr: a bar on a terminal, a line per line of the table elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lab.probe.examination import Examined
from lab.probe.line import Line


class ProbeProgress:
    """Context manager whose done() is told of each line after it."""

    def __init__(self, lines: Sequence[Line], quiet: bool) -> None:
        self._lines = lines
        self._console = Console(stderr=True, quiet=quiet)
        self._bar: Progress | None = None
        self._done = 0
        self._started = time.monotonic()

    def __enter__(self) -> ProbeProgress:
        if self._console.is_terminal and not self._console.quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(self._next, total=len(self._lines))
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def done(self, examined: Examined) -> None:
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=self._next)
            return
        elapsed_s = time.monotonic() - self._started
        line = f"{self._done}/{len(self._lines)}  {examined.name}  {examined.verdict}  {elapsed_s:.1f} s"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    @property
    def _next(self) -> str:
        return self._lines[self._done].name if self._done < len(self._lines) else "done"
