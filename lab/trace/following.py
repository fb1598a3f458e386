"""A program and its whole tree, from its start until nothing of it is left."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from lab.record.model import End, ProcessRecord, TrialRecord
from lab.record.rowfile import read_header
from lab.topology.line import KeeperLine, open_handle
from lab.trace.requests import Requests, came_from_terminal

_THE_PROGRAMS: Final = 2  # signals that the program may have for itself before the lab takes it as a wish to end
_PATIENCE_S: Final = 5.0  # for what was asked to end


@dataclass
class Following:
    """Call run(); afterwards `status` is the program's wait status, and record() what is known of its processes."""

    line: KeeperLine
    begun: TrialRecord  # as noted at the start, with the program as process 0
    requests: Requests
    daemonised: Callable[[], None]  # called once, where the program has ended and something of it lives on
    status: int | None = None
    interrupted: bool = False  # the user, not the program, brought about the end
    _passed: set[int] = field(default_factory=set)
    _came: int = 0
    _told: bool = False
    _until_s: float | None = None  # time.monotonic() at which patience ends

    @property
    def pid(self) -> int:
        """Of the program."""
        return self.begun.processes[0].pid

    def run(self) -> None:
        """Returns when the program and all that it started have ended, by themselves or by the user's wish."""
        handle = open_handle(self.pid)
        try:
            with selectors.DefaultSelector() as selector:
                for source in (self.line, self.requests):
                    selector.register(source, selectors.EVENT_READ)
                while not self._over():
                    selector.select(None if self._until_s is None else max(0.0, self._until_s - time.monotonic()))
                    for number in self.requests.take():
                        self._obey(number, handle)
                    self.line.hear()
        finally:
            if handle is not None:
                os.close(handle)
        self.line.end_all()  # nothing, unless patience has ended
        self.status = self.line.ended(self.pid, wait=True)
        self.interrupted |= self.died_of in self._passed

    @property
    def died_of(self) -> int:
        """The signal that ended the program; 0 for none."""
        return os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else 0

    @property
    def exit_status(self) -> int:
        """The program's own, and as a shell tells it (128 + signal) where a signal ended it."""
        assert self.status is not None
        return 128 + self.died_of if self.died_of else os.WEXITSTATUS(self.status)

    def _over(self) -> bool:
        if self.status is None and (status := self.line.ended(self.pid)) is not None:
            self.status = status
        if self.status is None:
            return self._until_s is not None and time.monotonic() >= self._until_s
        if self.line.alone is False and self._until_s is None and not self._told:
            self._told = True
            self.daemonised()
        return bool(self.line.alone) or (self._until_s is not None and time.monotonic() >= self._until_s)

    def _obey(self, number: int, handle: int | None) -> None:
        """Passes a signal on to the living program, then asks all to end, then ends all."""
        self._came += 1
        self._passed.add(number)
        if self._until_s is not None:
            self._until_s = time.monotonic()
        elif self.status is None and self._came <= _THE_PROGRAMS:
            if not came_from_terminal(number) and handle is not None:
                try:
                    signal.pidfd_send_signal(handle, number)
                except ProcessLookupError:
                    pass  # it has just ended
        else:
            self.interrupted = True
            self._until_s = time.monotonic() + _PATIENCE_S
            self.line.stop()

    def record(self, rows: Path) -> TrialRecord:
        """What is known of the processes without their calls. rows: folder with the tap's files."""
        opened_ns: dict[int, int] = {}  # by pid, at its first call
        for header in map(read_header, rows.glob("calls-*.rows")):
            if header is None:
                continue
            pid, at_ns = int(header["pid"]), int(header["opened_ns"])
            opened_ns[pid] = min(at_ns, opened_ns.get(pid, at_ns))
        opened_ns.pop(self.pid, None)
        processes = [self._process(self.begun.processes[0])]
        for index, pid in enumerate(sorted(opened_ns, key=opened_ns.__getitem__), start=1):
            processes.append(self._process(ProcessRecord(index, "other", pid, "unknown", 0, 0, None, 1)))
        return replace(self.begun, processes=tuple(processes), partial=self.interrupted)

    def _process(self, process: ProcessRecord) -> ProcessRecord:
        """How it ended, where the keeper saw it: the program itself, and what had lost its parent."""
        status = self.status if process.index == 0 else self.line.reaped.get(process.pid)
        if status is None:
            return process
        end: End
        if os.WIFSIGNALED(status):
            ours = self.interrupted and os.WTERMSIG(status) in {*self._passed, signal.SIGTERM, signal.SIGKILL}
            end = "cut-off" if ours else "signal"
            return replace(process, end=end, status=0 if ours else os.WTERMSIG(status), finished=False)
        return replace(process, end="exit", status=os.WEXITSTATUS(status), finished=True)
