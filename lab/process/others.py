"""What the kernel tells of other processes, and whom a program is started as."""

from __future__ import annotations

import os
import pwd
import socket
import sys
import time
from typing import Any, Final

_LISTENS: Final = "0A"  # TCP_LISTEN, in hexadecimal
_STARTTIME: Final = 19  # field 22 of /proc/pid/stat, of those after the name


def pss_kib(pid: int) -> int | None:
    """Proportional set size of a process in KiB; None where the kernel does not tell or the process is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Pss:")), None)
    except OSError:
        return None


def involuntary_switches(pid: int) -> int | None:
    """How often the threads of a process, those that are left, were taken off a processor before they wanted to wait.

    None where it is gone. Source: proc(5), nonvoluntary_ctxt_switches, which /proc/pid/status has of one thread only.
    """
    found = None
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/status") as file:
                line = next((line for line in file if line.startswith("nonvoluntary_ctxt_switches:")), None)
            if line is not None:
                found = (found or 0) + int(line.split()[1])
    except OSError:
        pass  # it, or a thread of it, has just ended
    return found


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


def born_ticks(pid: int) -> int | None:
    """When a process was born, in ticks of the kernel (10 ms) since the boot; None where it is gone.

    The same number each time that it is asked for: a pid and it together name one process, also when pids come again.
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[_STARTTIME])
    except OSError:
        return None


def monotonic_ns(ticks: int) -> int:
    """An instant in ticks since the boot on CLOCK_MONOTONIC, which differs by the time that the machine was suspended.

    Two clocks are read for it, one after the other, so no two answers are quite the same: not for comparing.
    """
    suspended_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK")) - suspended_ns
