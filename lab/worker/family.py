"""The root's children: how they are born, what they say, how they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lab import program
from lab.process.own import die_with_parent, let_stacks_be_read
from lab.record.order import TrialOrder
from lab.worker.channel import Channel
from lab.worker.context import Context
from lab.worker.member import live
from lab.worker.steps import SetUpFailed


@dataclass
class Child:
    """One worker, or generator of load, as its root sees it."""

    process: int
    pid: int
    handle: int  # pidfd: readable when it has ended
    channel: Channel
    role: Literal["worker", "generator"] = "worker"
    ready: bool = False
    failed: bool = False  # its set-up did
    released: bool = False  # it was told to begin its load
    finished: bool = False
    ended: bool = False

    def reap(self) -> int:
        """Its wait status; call once, when the handle is readable."""
        self.ended = True
        os.close(self.handle)
        self.channel.close()
        return os.waitpid(self.pid, 0)[1]


def fork(
    order: TrialOrder,
    process: int,
    context: Context,
    failure: SetUpFailed | None,
    siblings: list[Child],
    listeners: Sequence[socket.socket] = (),
) -> Child:
    """A worker that shares its root's memory as it stands: the fork that the whole lab is about."""
    ours, theirs = Channel.pair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = os.EX_SOFTWARE
        try:
            die_with_parent(parent)
            let_stacks_be_read()
            signal.set_wakeup_fd(-1)
            for sibling in siblings:
                sibling.channel.close()
                if not sibling.ended:
                    os.close(sibling.handle)
            ours.close()
            status = live(order, process, theirs, context, failure, listeners)
        except BaseException:  # whatever it is, it must not run on as a second root
            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    return Child(process, pid, os.pidfd_open(pid), ours)


def spawn(order: TrialOrder, process: int, listeners: Sequence[socket.socket] = ()) -> Child:
    """A worker with no fork relation to the token's context: a new program that is told the order through a pipe."""
    descriptors = [listener.fileno() for listener in listeners]
    return _start("lab.worker.spawned", order, process, descriptors)


def generator(order: TrialOrder, process: int) -> Child:
    """A generator of load: a new program too, no part of the server in any way, and told no secret of it."""
    known = order.tls and replace(order.tls, software_keys=(), ticket_key="")
    child = _start("lab.worker.generator", replace(order, token=None, tls=known, server=None, beside=()), process, [])
    child.role = "generator"
    return child


def _start(module: str, order: TrialOrder, process: int, descriptors: list[int]) -> Child:
    ours, theirs = Channel.pair()
    passed = [theirs.fileno(), *descriptors]
    words = [str(process), str(theirs.fileno()), str(os.getpid()), *map(str, descriptors)]
    started = subprocess.Popen(program.command(module, *words), stdin=subprocess.PIPE, pass_fds=passed)
    theirs.close()
    assert started.stdin is not None
    with started.stdin as pipe:
        pipe.write(order.to_json().encode())
    started.returncode = 0  # reaped here by pid, like every other child; Popen must not try
    return Child(process, started.pid, os.pidfd_open(started.pid), ours)
