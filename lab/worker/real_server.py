"""The root of a trial whose server is a real one: starts it, has it loaded, lets happen what is to happen, ends it.

    order -> programs beside -> generators -> server listens -> release -> load (reload, kill) -> memory -> stop -> done

The server's processes are its own: the root only looks on. Whoever descends from the root and is neither a generator
nor a program beside belongs to the server, daemons included, since the root is the parent of orphans.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.errors import LabFault
from lab.process.beside import Beside, start_all
from lab.process.others import (
    born_ticks,
    children,
    descendants,
    involuntary_switches,
    listens,
    monotonic_ns,
    pss_kib,
    user_of,
)
from lab.process.own import adopt_orphans
from lab.record.order import ServerOrder, TrialOrder
from lab.worker import owners
from lab.worker.family import Child, generator
from lab.worker.root import Root, report

_LOOK_AGAIN_S: Final = 0.1  # births are seen this late, and dated by the kernel; more often would cost the server time
_LOOK_FOR_LISTENER_S: Final = 0.02
_GLANCE_S: Final = 0.002  # after a reload or a kill: httpd changes its workers in less than a tick of the kernel
_GLANCE_FOR_S: Final = 1.5  # httpd looks after its children once in a second
_READY_S: Final = 20.0
_STEADY_LOOKS: Final = 5  # so many looks without a birth, before the load begins
_STOP_S: Final = 5.0


@dataclass
class Member:
    """One process of the server."""

    process: int
    pid: int
    handle: int  # pidfd
    birth: int | None  # in ticks of the kernel; None where it had ended by then
    ended: bool = False
    role: str = "worker"


@dataclass
class Tree:
    """The server's processes, as they come and go. not_it: pids of the root's other descendants."""

    not_it: set[int]
    last_process: int
    members: dict[int, Member] = field(default_factory=dict)  # by pid
    first: int | None = None  # pid of the process that was started
    looked_ns: int = 0  # when, the last time
    glanced_ns: int = 0  # when there was last seen to be no child that look() had not found
    glanced_at: int = 0  # whose: its pid

    def glance(self, pid: int) -> bool:
        """Whether this process may have children that look() has not found. It costs far less than a look."""
        at_ns = time.monotonic_ns()
        if any(child not in self.members for child in children(pid)):
            return True
        self.glanced_ns, self.glanced_at = at_ns, pid
        return False

    def look(self) -> list[Member]:
        """Those that were born since the last look."""
        before_ns, self.looked_ns = self.looked_ns, time.monotonic_ns()
        found = descendants(os.getpid())
        born = []
        for pid, parent in found.items():
            if parent in self.not_it:
                self.not_it.add(pid)
            known, birth = self.members.get(pid), born_ticks(pid)
            if pid in self.not_it or (known is not None and (not known.ended or known.birth == birth)):
                continue  # another with the number of one that has ended is a new one
            try:
                handle = os.pidfd_open(pid)
            except OSError:
                continue  # it has just ended
            self.last_process += 1
            member = self.members[pid] = Member(self.last_process, pid, handle, birth)
            self.first = self.first or pid
            if parent == os.getpid() and pid != self.first:
                parent = self.first  # a daemon, whose parent had ended before anybody looked
            # the kernel counts in ticks of 10 ms, and at the last look, or glance, this one was not there yet
            birth_ns = 0 if birth is None else monotonic_ns(birth)
            at_ns = max(birth_ns, before_ns, self.glanced_ns if parent == self.glanced_at else 0)
            report("born", process=member.process, pid=pid, role=member.role, parent=parent, at_ns=at_ns)
            born.append(member)
        self.not_it &= found.keys()
        return born

    def alive(self) -> Iterator[Member]:
        return (member for member in self.members.values() if not member.ended)


class ServerRoot(Root):
    """One trial's tree, with a real server in it."""

    def __init__(self, order: TrialOrder, server: ServerOrder) -> None:
        super().__init__(order)
        self.server = server
        self.beside: list[Beside] = []
        self.stopping = False
        self.master: Member | None = None
        self.happenings: list[tuple[int, Callable[[], None]]] = []  # instants of CLOCK_MONOTONIC, ascending

    def run(self) -> None:
        adopt_orphans()
        self.beside = start_all((*self.order.beside, *self.server.beside))
        owners.tell_start(report, self.beside)
        for process in range(1, self.generators + 1):
            self._adopt(generator(self.order, process))
        self.tree = Tree({child.pid for child in self.children}, self.last_process)
        self.tree.not_it |= {each.started.pid for each in self.beside}
        self._set_up()
        started = self._start()
        if started is None or not self._listens(started):
            self._refuse()
            return
        self._release()
        self._plan()
        self._while_loaded()
        alive = list(self.tree.alive())
        owners.tell_memory(report, self.beside)
        report("switches", involuntary={member.process: involuntary_switches(member.pid) for member in alive})
        report("memory", pss_kib={member.process: pss_kib(member.pid) for member in alive})
        self._tell_all("leave")
        self._until(lambda child: False)
        self._stop()
        self._end_beside(self.beside)
        report("done")

    # start

    def _start(self) -> Member | None:
        """The server's first process. None where its program cannot be started at all."""
        with open(self.server.console, "ab") as console:
            try:
                started = subprocess.Popen(
                    self.server.command,
                    env={**os.environ, **self.server.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,  # httpd ends by a signal to its whole process group
                    **user_of(self.server.user),
                )
            except OSError as error:
                console.write(f"{self.server.command[0]}: {error.strerror}\n".encode())
                return None
        started.returncode = 0  # reaped here by pid
        self._look()
        return self.tree.members.get(started.pid)

    def _listens(self, started: Member) -> bool:
        """Waits until it listens everywhere and its processes are there; False where it ended or took too long."""
        port = self.order.tls.port if self.order.tls else 0
        until_s, steady = time.monotonic() + _READY_S, 0
        ready_ns = 0
        while time.monotonic() < until_s:
            born = self._look()
            self._pass(_LOOK_FOR_LISTENER_S)
            if started.ended and (self.server.foreground or not (self._look() or any(self.tree.alive()))):
                return False
            if not (self._says_ready() and all(listens(address, port) for address in self.server.addresses)):
                continue
            ready_ns = ready_ns or time.monotonic_ns()
            steady = 0 if born else steady + 1
            master = self._find_master(started)
            if master is not None and steady >= _STEADY_LOOKS:
                self.master = master
                report("master", process=master.process, first=started.process)
                report("listening", at_ns=ready_ns)
                return True
        return False

    def _says_ready(self) -> bool:
        path, text = self.server.says_ready
        try:
            return text in Path(path).read_text(errors="replace")
        except OSError:
            return False

    def _find_master(self, started: Member) -> Member | None:
        """The one that it notes in its pid file; in the foreground it is the one that was started."""
        if self.server.foreground:
            return None if started.ended else started
        try:
            pid = int(Path(self.server.pid_file).read_text())
        except (OSError, ValueError):
            return None
        return self.tree.members.get(pid)

    def _refuse(self) -> None:
        """It does not serve: what its logs say is for the coordinator to read."""
        for member in self.tree.alive():
            _signal(member, signal.SIGKILL)
        report("refused")
        self._tell_all("leave")
        self._end_beside(self.beside)
        os._exit(0)

    # load

    def _plan(self) -> None:
        assert self.released_ns is not None
        for after_ns, what in ((self.server.reload_at_ns, self._reload), (self.server.kill_at_ns, self._kill)):
            if after_ns is not None:
                self.happenings.append((self.released_ns + after_ns, what))
        self.happenings.sort(key=lambda each: each[0])

    def _reload(self) -> None:
        assert self.master is not None
        at_ns = time.monotonic_ns()
        self._look()  # who is seen later was born later
        report("reloaded", at_ns=at_ns)
        _signal(self.master, self.server.reload_signal)

    def _kill(self) -> None:
        """One of its workers, the oldest."""
        assert self.master is not None
        at_ns = time.monotonic_ns()
        self._look()
        victim = next((m for m in self.tree.alive() if m is not self.master), None)
        if victim is None:
            raise LabFault(f"{self.server.name} has no worker that could be killed")
        report("killed", at_ns=at_ns, process=victim.process)
        _signal(victim, signal.SIGKILL)

    def _while_loaded(self) -> None:
        """Until the generators have finished."""
        while any(not (child.ended or child.finished) for child in self.children):
            next_s = _LOOK_AGAIN_S
            if self.happenings:
                next_s = min(next_s, max(0.0, (self.happenings[0][0] - time.monotonic_ns()) / 1e9))
            self._until(lambda child: child.finished, next_s)
            self._look()
            while self.happenings and self.happenings[0][0] <= time.monotonic_ns():
                self.happenings.pop(0)[1]()
                self._glance()

    def _glance(self) -> None:
        """Sees closely when the master has new children, for a while after something happened to it."""
        assert self.master is not None
        until_s = time.monotonic() + _GLANCE_FOR_S
        if self.happenings:
            until_s = min(until_s, self.happenings[0][0] / 1e9)
        while time.monotonic() < until_s and any(not (child.ended or child.finished) for child in self.children):
            if self.tree.glance(self.master.pid):
                self._look()
            self._until(lambda child: child.finished, _GLANCE_S)

    # end

    def _stop(self) -> None:
        self._look()
        self.stopping = True
        report("stopping", patience_s=_STOP_S)
        top = self.master if self.master is not None and not self.master.ended else None
        for member in [top] if top else list(self.tree.alive()):
            _signal(member, self.server.stop_signal)
        while any(self.tree.alive()):  # the coordinator ends what is overdue
            self._pass(_LOOK_AGAIN_S)
            self._look()

    # the tree

    def _look(self) -> list[Member]:
        born = self.tree.look()
        for member in born:
            self.selector.register(member.handle, selectors.EVENT_READ, (member, "handle"))
        return born

    def _pass(self, seconds: float) -> None:
        """Takes in what happens meanwhile."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            for key, _ in self.selector.select(left_s):
                child, what = key.data
                if not child.ended:
                    self._hear(child) if what == "channel" else self._bury(child)

    def _bury(self, child: Child | Member) -> None:
        if isinstance(child, Child):
            super()._bury(child)
            return
        self.selector.unregister(child.handle)
        os.close(child.handle)
        child.ended = True
        report("gone", process=child.process, at_ns=time.monotonic_ns(), status=self._status(child))

    def _status(self, member: Member) -> int | None:
        """Its wait status where the root is its parent; 0 where it was asked to end, and did so by that signal."""
        try:
            pid, status = os.waitpid(member.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if not pid:
            return None
        asked = self.stopping and os.WIFSIGNALED(status) and os.WTERMSIG(status) == self.server.stop_signal
        return 0 if asked else status


def _signal(member: Member, number: int) -> None:
    """Through the pidfd: its number may be somebody else's by now."""
    try:
        signal.pidfd_send_signal(member.handle, number)
    except ProcessLookupError:
        pass
