"""Programs beside a trial, or a question to a token: its daemon, a broker, what stands behind a server.

Started first and ended last, and killed by the kernel where the process that started them dies first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lab.errors import LabFault
from lab.process.others import user_of
from lab.process.own import die_with_parent
from lab.record.order import BesideOrder

_READY_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.01
END_S: Final = 3.0


@dataclass
class Beside:
    """One of them, started and ready."""

    order: BesideOrder
    started: subprocess.Popen[bytes]

    @staticmethod
    def start(order: BesideOrder) -> Beside:
        """Returns when it is ready. Raises LabFault where it cannot be started, or is not ready in time."""
        name = os.path.basename(order.command[0])
        own, before = os.getpid(), _state(order.ready)
        try:
            started = subprocess.Popen(
                order.command,
                env={**os.environ, **order.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(own),
                **user_of(order.user),
            )
        except OSError as error:
            raise LabFault(f"{name} cannot be started: {error.strerror}") from None
        until_s = time.monotonic() + _READY_S
        while _state(order.ready) in (None, before):
            status = started.poll()
            if status is not None:
                raise LabFault(f"{name} ended with status {status} before it was ready, see stderr.log")
            if time.monotonic() > until_s:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()
                raise LabFault(f"{name} was not ready in {_READY_S:g} s: {order.ready} is not there")
            time.sleep(_LOOK_AGAIN_S)
        return Beside(order, started)

    def end(self) -> None:
        """Asks it to end, and kills it where it does not."""
        end_all([self])

    def wait(self, patience_s: float) -> None:
        """Waits for its end, and kills it where it does not come."""
        try:
            self.started.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.started.pid, signal.SIGKILL)
            self.started.wait()


def _state(path: str) -> tuple[int, int] | None:
    """What tells a file or socket from the one that an earlier program left there; None: it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def start_all(orders: Iterable[BesideOrder]) -> list[Beside]:
    """In their order. Raises LabFault at the first that does not start; those before it die with the trial."""
    return [Beside.start(order) for order in orders]


def end_all(programs: Iterable[Beside]) -> None:
    """Asks all to end, and kills those that have not within END_S."""
    waiting, until_s = list(programs), time.monotonic() + END_S
    for each in waiting:
        each.started.terminate()
    for each in waiting:
        each.wait(max(0.0, until_s - time.monotonic()))
