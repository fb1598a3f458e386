"""What parent and child share at a fork: an operation under way, threads in the midst of calls, descriptors."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import stat
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from lab.probe.stage.bench import Bench, Child
from lab.probe.stage.parent import look_after

THREADS: Final = 4
CHILDREN: Final = 20
_FORKING_S: Final = 4.0
_AFTER_A_HANG_S: Final = 0.15
_BUSY: Final = 10
_MOST_DESCRIPTORS: Final = 40
_KCMP: Final[Mapping[str, int]] = {"x86_64": 312, "aarch64": 272}
_KCMP_FILE: Final = 0


def operation_in_both(bench: Bench) -> None:
    """The parent begins to sign, and both finish: the child first, without a C_Initialize of its own."""
    if not bench.make_ready() or not bench.key or bench.call("C_SignInit", bench.begin_to_sign) is None:
        return
    bench.in_child("child", bench.finish_signing)
    bench.who = "parent after"
    bench.finish_signing()


def busy_forks(bench: Bench) -> None:
    """Threads of the parent sign, each in a session of its own; children are forked meanwhile and work."""
    if not bench.make_ready() or not bench.key:
        return
    sessions = [bench.call("C_OpenSession", lambda: bench.module.open_session(bench.slot)) for _ in range(THREADS)]
    busy, over = threading.Semaphore(0), threading.Event()

    def going(times: int) -> bool:
        if times == _BUSY:
            busy.release()
        return not over.is_set()

    threads = [
        threading.Thread(
            target=bench.keep_signing,
            kwargs={"going": going, "session": session, "who": f"thread {number}"},
            daemon=True,
        )
        for number, session in enumerate(sessions)
        if session is not None
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        busy.acquire(timeout=bench.patience_s)
    children = _fork_meanwhile(bench)
    until_s = time.monotonic() + bench.patience_s
    for child in children:
        child.wait(until_s)
    over.set()
    for thread in threads:
        thread.join(bench.patience_s)
    bench.fact("forked", len(children))
    look_after(bench, [bench.session])


def _fork_meanwhile(bench: Bench) -> list[Child]:
    """One after the other, so that tokens which cannot take several logins at once are not what is found.

    Where one seems to hang, the next ones wait only a little for it.
    """

    def work() -> None:
        if bench.make_ready():
            bench.sign()

    children: list[Child] = []
    until_s = time.monotonic() + _FORKING_S
    hung = False
    for number in range(min(CHILDREN, bench.order.children)):
        if (children and time.monotonic() > until_s and not hung) or bench.must_not_log_in:
            break
        children.append(bench.fork(f"child {number}", work))
        hung |= not children[-1].has_ended(_AFTER_A_HANG_S if hung else bench.patience_s)
    return children


def descriptors(bench: Bench) -> None:
    """What C_Initialize, C_Login and a signature have open, what of it the child has, before and after its own."""
    before = _open(bench)
    _ = bench.module
    if not bench.make_ready():
        return
    if bench.key:
        bench.sign()
    opened = {number: one for number, one in _open(bench).items() if before.get(number) != one}
    for number, one in list(opened.items())[:_MOST_DESCRIPTORS]:
        bench.fact(f"opened {number}", one)

    parent = os.getpid()

    def child() -> None:
        bench.fact("child has", _still(bench, opened, parent))
        if bench.make_ready() and bench.key:
            bench.sign()
        bench.fact("child has after its C_Initialize", _still(bench, opened, parent))

    bench.in_child("child", child)
    look_after(bench, [bench.session])


def _still(bench: Bench, opened: Mapping[str, dict[str, Any]], parent: int) -> list[str]:
    """Names of those that this child of the parent's has in common with it still."""
    now = _open(bench)
    return [name for name, one in opened.items() if now.get(name) == one and _is_common(name, parent)]


def _is_common(name: str, parent: int) -> bool:
    """Whether a descriptor is the parent's, and not the same file opened again. Source: kcmp(2)."""
    call = _KCMP.get(platform.machine())
    if not name.isdigit() or call is None:
        return True  # shared memory of one inode is the same, however it is come by
    numbers = (ctypes.c_long(each) for each in (parent, os.getpid(), _KCMP_FILE, int(name), int(name)))
    differs = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(call), *numbers)
    return int(differs) <= 0  # below 0: the kernel does not tell


def _open(bench: Bench) -> dict[str, dict[str, Any]]:
    """Descriptors of this process by number, and its shared mappings by address. The kernel's word (proc(5))."""
    found: dict[str, dict[str, Any]] = {}
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        try:
            status, target = os.fstat(number), os.readlink(f"/proc/self/fd/{name}")
            closes = bool(fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
        except OSError:
            continue  # that of the listing itself
        kind = _kind(status.st_mode, target)
        found[name] = {"kind": kind, "target": _short(bench, target), "inode": status.st_ino, "close_on_exec": closes}
    with open("/proc/self/maps") as maps:
        for line in maps:
            address, access, _, _, inode, *path = line.split(maxsplit=5)
            if access.endswith("s"):
                target = _short(bench, path[0].strip()) if path else "anonymous"
                found[address] = {"kind": "shared memory", "target": target, "inode": int(inode)}
    return found


def _kind(mode: int, target: str) -> str:
    kinds = ((stat.S_ISSOCK, "socket"), (stat.S_ISFIFO, "pipe"), (stat.S_ISCHR, "device"), (stat.S_ISREG, "file"))
    return next((word for fits, word in kinds if fits(mode)), target.removeprefix("anon_inode:").strip("[]"))


def _short(bench: Bench, target: str) -> str:
    """Without the private folder, whose name says nothing."""
    return target.replace(os.path.realpath(bench.order.folder), "(private)")


STAGES: Final = {
    "operation-in-both": operation_in_both,
    "busy-forks": busy_forks,
    "descriptors": descriptors,
}
