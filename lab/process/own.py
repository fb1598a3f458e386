"""What every process of the lab's trees sets for itself right after its birth."""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_PTRACER: Final = 0x59616D61
_ANYONE: Final = ctypes.c_ulong(2**64 - 1)


@functools.cache
def _c() -> ctypes.CDLL:
    """Found once: after a fork of a process with threads, dlopen() may wait for a lock that a thread had."""
    return ctypes.CDLL(None)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent dies, however it dies. A fork clears this: each child asks."""
    _c().prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def let_stacks_be_read() -> None:
    """Lets a debugger that is no ancestor attach, where the kernel would forbid it (Yama), for the stack of a hang."""
    _c().prctl(_PR_SET_PTRACER, _ANYONE, 0, 0, 0)


def leave_no_core() -> None:
    """A core file would hold the PIN. Children inherit the limit; a limit of 1 also stops cores that go to a program.

    Source: core(5). PR_SET_DUMPABLE would do it too, and hide the stacks of a hang.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    least = 1 if most == resource.RLIM_INFINITY else min(1, most)
    resource.setrlimit(resource.RLIMIT_CORE, (least, least))


def raise_limit_of_files() -> int:
    """Lets this process, and its children, have as many open files as it may; returns how many. A connection is one.

    A shell's usual limit of 1024 would be what a server with many clients is found to have.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent has ended, such as a daemon's."""
    _c().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
