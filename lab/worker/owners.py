"""Programs beside a trial that call the token's module for its processes: what the root tells of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from lab.process.beside import Beside, end_all
from lab.process.others import descendants, pss_kib

Report = Callable[..., Any]


def tell_start(report: Report, programs: Iterable[Beside]) -> None:
    """Which processes they are; those that they start are known by their parent."""
    for each in _owners(programs):
        report("owner", pid=each.started.pid, program=os.path.basename(each.order.command[0]))


def tell_memory(report: Report, programs: Iterable[Beside]) -> None:
    """What each has with all that it started (p11-kit's server has a process for each client)."""
    for each in _owners(programs):
        pid = each.started.pid
        parts = [pss_kib(one) for one in (pid, *descendants(pid))]
        known = [part for part in parts if part is not None]
        report("owner-memory", pid=pid, pss_kib=sum(known) if known else None)


def end(report: Report, programs: Iterable[Beside]) -> None:
    """Ends all programs, and tells of owners that had ended before, or that would not."""
    every = list(programs)
    early = {each.started.pid for each in every if each.started.poll() is not None}
    end_all(every)
    for each in _owners(every):
        pid, status = each.started.pid, each.started.returncode
        if pid in early:
            report("owner-ended", pid=pid, end="signal" if status < 0 else "exit", status=abs(status), finished=False)
        elif status == -signal.SIGKILL:
            report("owner-ended", pid=pid, end="hang", status=0, finished=False)
        else:  # however it words that it was asked to end: p11-kit's server exits with 255
            report("owner-ended", pid=pid, end="exit", status=0, finished=True)


def _owners(programs: Iterable[Beside]) -> list[Beside]:
    return [each for each in programs if each.order.owner]
