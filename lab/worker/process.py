"""What every process of a trial sets for itself right after its birth."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import socket
import sys
import time
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_PTRACER: Final = 0x59616D61
_LISTENS: Final = "0A"  # TCP_LISTEN, in hexadecimal
_STARTTIME: Final = 19  # field 22 of /proc/pid/stat, of those after the name
_ANYONE: Final = ctypes.c_ulong(2**64 - 1)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent dies, however it dies. A fork clears this: each child asks."""
    c = ctypes.CDLL(None, use_errno=True)
    c.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def let_stacks_be_read() -> None:
    """Lets a debugger that is no ancestor attach, where the kernel would forbid it (Yama), for the stack of a hang."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYONE, 0, 0, 0)


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


def pss_kib(pid: int) -> int | None:
    """Proportional set size of a process in KiB; None where the kernel does not tell or the process is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Pss:")), None)
    except OSError:
        return None


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent has ended, such as a daemon's."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def user_of(name: str | None) -> dict[str, Any]:
    """Arguments of subprocess.Popen for a program that is started as another user, with that user's groups."""
    if name is None:
        return {}
    group = pwd.getpwnam(name).pw_gid
    return {"user": name, "group": group, "extra_groups": os.getgrouplist(name, group)}


def descendants(pid: int) -> dict[int, int]:
    """All living descendants of a process, zombies included: pid -> pid of the parent."""
    found: dict[int, int] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for child in children(parent):
            if child not in found:
                found[child] = parent
                waiting.append(child)
    return found


def children(pid: int) -> list[int]:
    """pids of the children of all its threads, zombies included; none where it is gone."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass  # it, or a thread of it, has just ended
    return found


def listens(address: str, port: int) -> bool:
    """Whether a TCP socket of this machine listens at an IPv4 address, without connecting to it.

    A connection would be one more in the server's log, and its first. Source: proc(5), /proc/net/tcp.
    """
    wanted = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}:{port:04X}"
    anywhere = f"{0:08X}:{port:04X}"
    with open("/proc/net/tcp") as file:
        next(file)
        rows = (line.split(maxsplit=4) for line in file)
        return any(row[1] in (wanted, anywhere) and row[3] == _LISTENS for row in rows)


def started_ns(pid: int) -> int | None:
    """When a process was born, on CLOCK_MONOTONIC, to a tick of the kernel (10 ms); None where it is gone.

    The kernel counts from the boot, which differs from that clock by the time that the machine was suspended.
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[_STARTTIME])
    except OSError:
        return None
    suspended_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK")) - suspended_ns
