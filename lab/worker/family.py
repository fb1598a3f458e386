"""The root's children: how they are born, what they say, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import traceback
from dataclasses import dataclass

from lab import program
from lab.record.order import TrialOrder
from lab.worker.channel import Channel
from lab.worker.context import Context
from lab.worker.member import live
from lab.worker.process import die_with_parent, let_stacks_be_read
from lab.worker.steps import SetUpFailed


@dataclass
class Child:
    """One worker as its root sees it."""

    process: int
    pid: int
    handle: int  # pidfd: readable when it has ended
    channel: Channel
    ready: bool = False
    finished: bool = False
    ended: bool = False

    def reap(self) -> int:
        """Its wait status; call once, when the handle is readable."""
        self.ended = True
        os.close(self.handle)
        self.channel.close()
        return os.waitpid(self.pid, 0)[1]


def fork(
    order: TrialOrder, process: int, context: Context, failure: SetUpFailed | None, siblings: list[Child]
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
            status = live(order, process, theirs, context, failure)
        except BaseException:  # whatever it is, it must not run on as a second root
            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    return Child(process, pid, os.pidfd_open(pid), ours)


def spawn(order: TrialOrder, process: int) -> Child:
    """A worker with no fork relation to the token's context: a new program that is told the order through a pipe."""
    ours, theirs = Channel.pair()
    command = program.command("lab.worker.spawned", str(process), str(theirs.fileno()), str(os.getpid()))
    spawned = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs.fileno()])
    theirs.close()
    assert spawned.stdin is not None
    with spawned.stdin as pipe:
        pipe.write(order.to_json().encode())
    spawned.returncode = 0  # reaped here by pid, like every other child; Popen must not try
    return Child(process, spawned.pid, os.pidfd_open(spawned.pid), ours)
