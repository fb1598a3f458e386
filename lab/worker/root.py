"""The trial root: exec'd fresh for each trial, makes the tree that the order describes, and reports what becomes of it.

    order (stdin, JSON) -> context policy before the fork -> fork N workers -> set-ups, one by one or all at once
      -> release -> load -> memory -> leave -> parent's check -> done

Where handshakes are the load, workers are servers: the root makes their listening sockets, starts generators of load
before there is any context, and stops the servers when the generators have finished. A server that ends after its share
of connections (connections_per_child) is replaced.

The root never decides that something hangs: it reports facts as JSON lines on its report pipe, and the coordinator,
which outlives any hang here, kills what is overdue. A killed worker is to the root a worker that ended.
"""

from __future__ import annotations

import json
import os
import selectors
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from lab.errors import LabFault
from lab.native.cryptoki import CryptokiError
from lab.process.beside import END_S, Beside, start_all
from lab.process.mounts import enter
from lab.process.others import involuntary_switches, pss_kib
from lab.process.own import die_with_parent, leave_no_core, let_stacks_be_read, raise_limit_of_files
from lab.record.order import TrialOrder
from lab.worker import owners
from lab.worker.family import Child, fork, generator, spawn
from lab.worker.listeners import listen
from lab.worker.member import context_of, drive_of
from lab.worker.policies import policy_of
from lab.worker.steps import SetUpFailed

REPORT_FD: Final = 3
_STAGGER_PATIENCE_S: Final = 1.0  # a worker that hangs in its set-up must not keep the others from theirs
_SPAWN_PATIENCE_S: Final = 5.0  # of one that starts an interpreter first, which a busy machine is slow to do
_LAST_STEPS_S: Final = 3.0  # beyond the time-out of a handshake: a step that waits for the token is not interrupted
_RELEASE_AHEAD_NS: Final = 5_000_000
_RELEASE_AHEAD_PER_WORKER_NS: Final = 200_000


def report(event: str, **facts: Any) -> None:
    """One line to the coordinator; shorter than PIPE_BUF, so lines of several writers never mix."""
    os.write(REPORT_FD, json.dumps({"event": event, **facts}).encode() + b"\n")


class Root:
    """One trial's tree from the inside."""

    def __init__(self, order: TrialOrder) -> None:
        self.listeners = listen(order.tls) if order.tls and order.tls.server == "lab" else []
        if self.listeners and order.tls:
            order = replace(order, tls=replace(order.tls, port=self.listeners[0].getsockname()[1]))
        self.order = order
        self.policy = policy_of(order)
        self.context = context_of(order)
        self.drive = drive_of(order, 0)
        self.failure: SetUpFailed | None = None
        self.children: list[Child] = []
        self.selector = selectors.DefaultSelector()
        self.released_ns: int | None = None  # while servers serve: ends replaced, set-ups released at once
        self.last_process = 0  # the highest number of a child so far
        self.vacancies = 0  # of servers that ended after their share
        self.newest: Child | None = None  # of their replacements
        self.patient_until_s = 0.0  # with the newest, until the next may follow

    @property
    def generators(self) -> int:
        return self.order.tls.generators if self.order.tls else 0

    @property
    def _patience_s(self) -> float:
        """With one worker's set-up, where they are staggered."""
        return _SPAWN_PATIENCE_S if self.order.kind == "spawn" else _STAGGER_PATIENCE_S

    def workers(self) -> Iterator[Child]:
        return (child for child in self.children if child.role == "worker")

    def run(self) -> None:
        beside = start_all(self.order.beside)
        owners.tell_start(report, beside)
        for process in range(1, self.generators + 1):
            self._adopt(generator(self.order, self.order.processes + process))
        self._before_fork()
        for process in range(1, self.order.processes + 1):
            self._bear(process)
        self._set_up()
        try:
            self.context.stop()
        except SetUpFailed:
            pass  # on record as a background row: its children may have harmed the parent's context
        self._release()
        if self.generators:
            self._serve()
        self._until(lambda child: child.finished)
        owners.tell_memory(report, beside)
        living = [child for child in self.children if not child.ended]
        report("switches", involuntary={child.process: involuntary_switches(child.pid) for child in living})
        report("memory", pss_kib={child.process: pss_kib(child.pid) for child in living})
        self._tell_all("leave")
        self._until(lambda child: False)
        self._after_children()
        self._end_beside(beside)
        report("done")

    def _end_beside(self, beside: Sequence[Beside]) -> None:
        if beside:
            report("ending", patience_s=END_S + 1)  # who is slow to end there is no hang of the root's
            owners.end(report, beside)

    def _serve(self) -> None:
        """Until the generators have finished, however long servers, which nobody has told to stop, would go on."""
        self._until(lambda child: child.role == "worker" or child.finished)
        self.released_ns, self.vacancies = None, 0
        report("stopping", patience_s=self.order.tls.timeout_ns / 1e9 + _LAST_STEPS_S if self.order.tls else 0.0)
        for child in list(self.workers()):
            self._tell(child, "stop")

    def _before_fork(self) -> None:
        try:
            self.policy.before_fork(self.context, self.drive, self.order.threads)
            if self.policy.in_root:
                self.context.once("first")
            if self.order.fork_point == "mid-operation":
                self.context.begin_operation()
            if self.order.fork_point == "threads-busy":
                self.context.occupy(self.drive, self.order.busy_threads)
        except SetUpFailed as error:
            self.failure = error
            report("root-failed", failure=str(error))
        except CryptokiError as error:
            report("root-failed", failure=str(error))

    def _bear(self, process: int) -> None:
        if self.order.kind == "spawn":
            self._adopt(spawn(self.order, process, self.listeners))
        else:
            self._adopt(fork(self.order, process, self.context, self.failure, self.children, self.listeners))

    def _adopt(self, child: Child) -> None:
        self.children.append(child)
        self.last_process = max(self.last_process, child.process)
        self.selector.register(child.handle, selectors.EVENT_READ, (child, "handle"))
        self.selector.register(child.channel, selectors.EVENT_READ, (child, "channel"))
        report("born", process=child.process, pid=child.pid, role=child.role)

    def _set_up(self) -> None:
        for child in self.children:
            if child.role == "generator":
                self._tell(child, "begin")
        if self.order.start == "herd":
            for child in self.workers():
                self._tell(child, "begin")
        else:
            # Of all together, not a share for each: one that a busy machine keeps waiting must not meet the next.
            until_s = time.monotonic() + self._spare_s() / 2
            for child in list(self.workers()):
                self._tell(child, "begin")
                patience_s = min(self._patience_s, max(0.0, until_s - time.monotonic()))
                self._until(lambda c, this=child: c is not this or c.ready, patience_s)  # type: ignore[misc]
        self._until(lambda child: child.ready, self._spare_s() / 2)
        if all(child.ended or child.failed for child in self.workers()):
            for listener in self.listeners:  # nobody will ever accept: clients are refused, as they must be
                listener.close()

    def _spare_s(self) -> float:
        """What is left of the trial's time after its load, for set-ups that take their time or hang."""
        load_ns = self.order.warmup_ns + self.order.duration_ns
        return max(0.0, (self.order.deadline_ns - time.monotonic_ns() - load_ns) / 1e9)

    def _release(self) -> None:
        at_ns = time.monotonic_ns() + _RELEASE_AHEAD_NS + _RELEASE_AHEAD_PER_WORKER_NS * len(self.children)
        report("released", at_ns=at_ns)
        self.released_ns = at_ns if self.generators else None
        self._tell_all("release", at_ns)  # also to those that are not ready yet: it waits for them

    def _after_children(self) -> None:
        """The parent's context must have survived its children."""
        report("checking")
        if self.policy.in_root:
            if self.failure is None:
                self.context.once("parent_check", resume=self.order.fork_point == "mid-operation")
            try:
                self.context.leave(self.drive, True, True)
            except (SetUpFailed, CryptokiError):
                pass  # on record as a teardown row

    def _tell(self, child: Child, word: Any, at_ns: int = 0) -> None:
        if child.ended:
            return
        try:
            child.channel.send(word, at_ns)
        except OSError:
            return  # it is ending; its handle will say so
        child.released |= word == "release"
        if word == "begin":
            report("begun", process=child.process)

    def _tell_all(self, word: Any, at_ns: int = 0) -> None:
        for child in self.children:
            self._tell(child, word, at_ns)

    def _until(self, satisfied: Callable[[Child], bool], patience_s: float | None = None) -> None:
        """Takes in what children say until each is satisfied or has ended, or patience runs out."""
        until = None if patience_s is None else time.monotonic() + patience_s
        while any(not (child.ended or satisfied(child)) for child in self.children):
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            if self.vacancies:
                turn_s = max(0.0, self.patient_until_s - time.monotonic())
                left = turn_s if left is None else min(left, turn_s)
            for key, _ in self.selector.select(left):
                child, what = key.data
                if not child.ended:
                    self._hear(child) if what == "channel" else self._bury(child)
            self._fill()

    def _hear(self, child: Child) -> None:
        try:
            message = child.channel.recv()
        except (EOFError, OSError):
            self.selector.unregister(child.channel)
            return
        child.ready |= message.word == "ready"
        child.failed |= message.failure is not None
        child.finished |= message.word == "finished"
        if message.word == "finished":
            report("finished", process=child.process, cpu_ns=message.cpu_ns, busy_ns=message.busy_ns)
        else:
            report(message.word, process=child.process, failure=message.failure)
        if self.released_ns is not None and self._churns(child):
            if child.finished:
                self._tell(child, "leave")
            elif not child.released:
                self._tell(child, "release", self.released_ns)

    def _churns(self, child: Child) -> bool:
        """Whether it ends after its share of connections, and another one takes its place."""
        lasting = self.order.tls is None or not self.order.tls.connections_per_child
        return child.role == "worker" and not lasting and not child.failed

    def _bury(self, child: Child) -> None:
        self.selector.unregister(child.handle)
        if child.channel in self.selector.get_map():
            self.selector.unregister(child.channel)
        report("ended", process=child.process, status=child.reap())
        if self.released_ns is not None and self._churns(child) and child.finished:
            self.vacancies += 1
            self.children.remove(child)  # others come and go, and none should be dearer than the first

    def _fill(self) -> None:
        """Bears replacements; with a staggered start, one when the last has logged in, as at the beginning."""
        while self.vacancies:
            last, now_s = self.newest, time.monotonic()
            waits = self.order.start != "herd" and last is not None and not (last.ready or last.ended)
            if waits and now_s < self.patient_until_s:
                return
            self.vacancies -= 1
            self._bear(1 + self.last_process)
            self.newest = self.children[-1]
            self.patient_until_s = now_s + self._patience_s
            self._tell(self.newest, "begin")


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    let_stacks_be_read()
    leave_no_core()
    raise_limit_of_files()
    order = TrialOrder.from_json(sys.stdin.read())
    try:
        enter(order.mounts, [order.folder])
        if order.server is None:
            Root(order).run()
        else:
            from lab.worker.real_server import ServerRoot

            ServerRoot(order, order.server).run()
    except (LabFault, OSError) as fault:
        report("fault", message=str(fault))
        os._exit(os.EX_SOFTWARE)
    os._exit(0)


if __name__ == "__main__":
    main()
