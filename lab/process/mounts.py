"""Private mounts: what a program finds at a fixed place of the file system, for one process and what it starts.

Some libraries and daemons read /etc/... and /var/lib/... and can be told nothing else. In namespaces of its own a
process sees folders of the lab's there; nobody else does, and they are gone with the last process that has them.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lab.errors import LabFault

TMPFS: Final = "tmpfs"
"""As a source: an empty file system in memory, open to everybody as /dev/shm is, and gone with the mount."""

_CLONE_NEWNS, _CLONE_NEWIPC = 0x00020000, 0x08000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_UNSHARE: Final = "unshare(CLONE_NEWNS | CLONE_NEWIPC)"


class MountsRefused(LabFault):
    """This machine, or where the lab's files lie on it, does not allow for the mounts."""


def enter(mounts: Iterable[tuple[str, str]], needed: Iterable[str] = ()) -> None:
    """Gives this process mount and IPC namespaces of its own, in which each source lies over its target.

    mounts: pairs of (source, target), in this order. Both are folders, or both files, and exist; a source may be TMPFS.
    needed: paths that must stay in sight, besides the sources. Without mounts nothing changes. Needs root
    (CAP_SYS_ADMIN), and a process of one thread. Raises MountsRefused, where the kernel refuses or something would be
    out of sight. Source: unshare(2), mount_namespaces(7).
    """
    pairs = list(mounts)
    if not pairs:
        return
    for path in (*needed, *(source for source, _ in pairs if source != TMPFS)):
        _check_in_sight(path, [target for _, target in pairs])
    c = ctypes.CDLL(None, use_errno=True)
    _check(c.unshare(_CLONE_NEWNS | _CLONE_NEWIPC), _UNSHARE)
    _check(c.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "making mounts private")
    for source, target in pairs:
        if source == TMPFS:
            flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
            done = c.mount(b"none", os.fsencode(target), TMPFS.encode(), flags, b"mode=1777")
        else:
            flags = ctypes.c_ulong(_MS_BIND | _MS_REC)
            done = c.mount(os.fsencode(source), os.fsencode(target), None, flags, None)
        _check(done, f"mounting {source} over {target}")


def _check_in_sight(path: str, targets: list[str]) -> None:
    for target in targets:
        if Path(path).resolve().is_relative_to(Path(target).resolve()):
            raise MountsRefused(
                f"{path} lies in {target}, where a trial has a folder of its own; "
                "use another place (--out, and TMPDIR for what is temporary)"
            )


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        why = "; it needs root with CAP_SYS_ADMIN, which few containers have" if number == errno.EPERM else ""
        raise MountsRefused(f"{what} is refused: {os.strerror(number)}{why}")
