"""Watching one trial: takes in what the root reports, keeps the clock, and ends what is overdue, with its stack.

A trial has stages, each with its own patience: the load (the scenario's timeout_s), the last handshakes of servers that
were told to stop, the leaving, and the parent's check. A process that outstays its stage hangs: its stack is saved,
then it is killed, and the trial goes on.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lab.process.stacks import save_stack
from lab.record.model import End, OwnerRecord, Role
from lab.topology.line import KeeperLine, kill, open_handle
from lab.topology.sentinel import Sentinel

_LEAVE_S: Final = 3.0
_LEAVE_PER_PROCESS_S: Final = 0.05
_CHECK_S: Final = 3.0
_MOST_STACKS: Final = 16
_KILLED_S: Final = 3.0


@dataclass
class Seen:
    """One process as the watch knows it."""

    process: int
    pid: int
    handle: int | None
    ready: bool = False  # its set-up is over: from then on it waits for the root's release
    begun: bool = False  # it was told to set up its context: from then on it can hang
    finished: bool = False
    role: Role = "worker"
    parent: int | None = None  # pid; of a real server's processes
    born_ns: int | None = None
    gone_ns: int | None = None
    cpu_ns: int | None = None
    busy_ns: int | None = None
    end: End | None = None
    status: int = 0
    detail: str | None = None
    stack: str | None = None


@dataclass
class Watch:
    """Call until() with the trial's pieces; afterwards `seen` says what became of each process."""

    line: KeeperLine
    root_pid: int
    report: int  # file descriptor of the report pipe
    folder: Path
    deadline_s: float  # time.monotonic()
    interrupted: int  # file descriptor that becomes readable when the user wants to stop
    seen: dict[int, Seen] = field(default_factory=dict)
    released_ns: int | None = None
    pss_kib: dict[int, int | None] = field(default_factory=dict)
    owners: dict[int, OwnerRecord] = field(default_factory=dict)  # by pid
    involuntary: dict[int, int | None] = field(default_factory=dict)
    sentinel: Sentinel = field(default_factory=Sentinel)
    done: bool = False
    faults: list[str] = field(default_factory=list)
    partial: bool = False
    serving: bool = False  # workers are servers, and nobody has told them to stop
    refused: bool = False  # a real server does not serve
    listening_ns: int | None = None  # when it did
    reloaded_ns: int | None = None
    killed_ns: int | None = None
    killed: int | None = None  # the process that was killed for the scenario's sake
    _rest: bytes = b""
    _stacks: int = 0

    def run(self) -> None:
        """Returns when the root has ended and every process has been accounted for."""
        try:
            self._follow()
        finally:
            self.sentinel.end()

    def _follow(self) -> None:
        self.seen[0] = Seen(0, self.root_pid, open_handle(self.root_pid), role="root")
        with selectors.DefaultSelector() as selector:
            for source in (self.report, self.line, self.interrupted):
                selector.register(source, selectors.EVENT_READ)
            while (status := self.line.ended(self.root_pid)) is None:
                ready = {key.fileobj for key, _ in selector.select(max(0.0, self.deadline_s - time.monotonic()))}
                if self.interrupted in ready:
                    self.partial = True
                    break
                if self.report in ready and not self._hear():
                    selector.unregister(self.report)
                if time.monotonic() >= self.deadline_s:
                    self._overdue()
        if status is None:
            self.line.end_all()
            status = self.line.ended(self.root_pid, wait=True)
        while self._hear():
            pass
        self._account(status or 0)

    def _hear(self) -> bool:
        """Takes in what stands in the report pipe; False when nobody can write to it any more."""
        try:
            raw = os.read(self.report, 1 << 16)
        except BlockingIOError:
            return False
        *lines, self._rest = (self._rest + raw).split(b"\n")
        for line in lines:
            facts = json.loads(line)
            getattr(self, "_on_" + facts.pop("event").replace("-", "_"))(**facts)
        return bool(raw)

    # events

    def _on_born(self, process: int, pid: int, role: Role, parent: int | None = None, at_ns: int | None = None) -> None:
        self.seen[process] = Seen(process, pid, open_handle(pid), role=role, parent=parent, born_ns=at_ns)
        self.serving |= role == "generator"

    def _on_stopping(self, patience_s: float) -> None:
        self.serving = False
        for seen in self.seen.values():
            seen.begun |= seen.born_ns is not None  # a real server's, of which one that does not end hangs
        self.deadline_s = min(self.deadline_s, time.monotonic() + patience_s)

    def _on_ready(self, process: int, failure: str | None) -> None:
        self.seen[process].ready = True
        self.seen[process].detail = failure

    def _on_begun(self, process: int) -> None:
        self.seen[process].begun = True

    def _on_root_failed(self, failure: str) -> None:
        self.seen[0].detail = failure

    def _on_released(self, at_ns: int) -> None:
        self.released_ns = at_ns
        self.sentinel.begin()

    def _on_finished(self, process: int, cpu_ns: int, busy_ns: int) -> None:
        seen = self.seen[process]
        seen.finished = True
        if busy_ns:
            seen.cpu_ns, seen.busy_ns = cpu_ns, busy_ns

    def _on_switches(self, involuntary: dict[str, int | None]) -> None:
        self.sentinel.end()
        self.involuntary = {int(process): switches for process, switches in involuntary.items()}

    def _on_memory(self, pss_kib: dict[str, int | None]) -> None:
        self.pss_kib = {int(process): pss for process, pss in pss_kib.items()}
        self.deadline_s = time.monotonic() + _LEAVE_S + _LEAVE_PER_PROCESS_S * len(self.seen)

    def _on_ended(self, process: int, status: int) -> None:
        self._end(self.seen[process], status)

    # of programs that have the token

    def _on_owner(self, pid: int, program: str) -> None:
        self.owners[pid] = OwnerRecord(program, pid)

    def _on_owner_memory(self, pid: int, pss_kib: int | None) -> None:
        self.owners[pid] = replace(self.owners[pid], pss_kib=pss_kib)

    def _on_owner_ended(self, pid: int, end: End, status: int, finished: bool) -> None:
        self.owners[pid] = replace(self.owners[pid], end=end, status=status, finished=finished)

    # of a real server

    def _on_master(self, process: int, first: int) -> None:
        for each in (process, first):
            self.seen[each].role = "master"

    def _on_listening(self, at_ns: int) -> None:
        self.listening_ns = at_ns

    def _on_refused(self) -> None:
        self.refused = True

    def _on_reloaded(self, at_ns: int) -> None:
        self.reloaded_ns = at_ns

    def _on_killed(self, at_ns: int, process: int) -> None:
        self.killed_ns, self.killed = at_ns, process
        self.seen[process].end = "cut-off"

    def _on_gone(self, process: int, at_ns: int, status: int | None) -> None:
        seen = self.seen[process]
        seen.gone_ns = at_ns
        if status is not None:
            self._end(seen, status)
        elif seen.end is None:
            seen.end = "unknown"  # its parent has waited for it
        if seen.handle is not None:
            os.close(seen.handle)
            seen.handle = None

    def _on_checking(self) -> None:
        self.deadline_s = time.monotonic() + _CHECK_S

    def _on_ending(self, patience_s: float) -> None:
        self.deadline_s = time.monotonic() + patience_s

    def _on_done(self) -> None:
        self.done = True

    def _on_fault(self, message: str) -> None:
        self.faults.append(message)

    # ends

    def _end(self, seen: Seen, status: int) -> None:
        if seen.handle is not None:
            os.close(seen.handle)
            seen.handle = None
        if seen.end is None:
            ours = seen.process and seen.born_ns is None  # and no program of somebody else's
            if ours and os.WIFEXITED(status) and os.WEXITSTATUS(status) == os.EX_SOFTWARE:
                self.faults.append(
                    f"{seen.role} {seen.process}: a fault of the lab, see stderr.log in {self.folder.name}"
                )
            seen.end = "signal" if os.WIFSIGNALED(status) else "exit"
            seen.status = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _overdue(self) -> None:
        """Names what hangs in this stage, saves its stack and kills it. A root with nobody to wait for hangs itself."""
        workers = [s for s in self.seen.values() if s.process and s.end is None]
        hung = [s for s in workers if s.begun and not self.waits_for_root(s)] or [self.seen[0]]
        hung = [s for s in hung if s.role != "master"] or hung  # it waits for its workers
        for seen in hung:
            seen.end, seen.status = "hang", 0
            if self._stacks < _MOST_STACKS:
                self._stacks += 1
                seen.stack = f"stack-{seen.process}.txt"
                save_stack(seen.pid, self.folder / seen.stack)
        for seen in hung:
            if seen.handle is not None:
                kill(seen.handle)
        self.deadline_s = time.monotonic() + _KILLED_S

    def waits_for_root(self, seen: Seen) -> bool:
        """Whether it is the root's turn, so that this worker cannot be the one that hangs."""
        if self.pss_kib:  # all were told to leave
            return False
        if self.serving and seen.role == "worker" and seen.ready:
            return True
        return seen.finished or (seen.ready and self.released_ns is None)

    def _account(self, root_status: int) -> None:
        root = self.seen[0]
        self._end(root, root_status)
        for seen in self.seen.values():
            if seen.end is None:
                seen.end, seen.status = ("cut-off" if self.partial else "root-died"), signal.SIGKILL
            if seen.handle is not None:
                os.close(seen.handle)
                seen.handle = None
        if self.partial and not self.done:
            root.end, root.status = "cut-off", signal.SIGKILL


def facts_of(seen: Seen) -> dict[str, Any]:
    """What a ProcessRecord takes over."""
    return {
        "end": seen.end or "unknown",
        "status": seen.status,
        "detail": seen.detail,
        "stack": seen.stack,
        "cpu_ns": seen.cpu_ns,
        "busy_ns": seen.busy_ns,
        "parent": seen.parent,
        "born_ns": seen.born_ns,
        "gone_ns": seen.gone_ns,
    }
