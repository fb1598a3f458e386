"""Private mounts: what a program finds at a fixed place of the file system, for one process and what it starts.

Some libraries and daemons read /etc/... and /var/lib/... and can be told nothing else. In namespaces of its own a
process sees folders of the lab's there; nobody else does, and they are gone with the last process that has them.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import Final

from lab.errors import LabFault

_CLONE_NEWNS, _CLONE_NEWIPC = 0x00020000, 0x08000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_UNSHARE: Final = "unshare(CLONE_NEWNS | CLONE_NEWIPC)"


def enter(mounts: Iterable[tuple[str, str]]) -> None:
    """Gives this process mount and IPC namespaces of its own, in which each source lies over its target.

    mounts: pairs of (source, target), both of which exist. Without any, nothing changes. Needs root (CAP_SYS_ADMIN),
    and a process of one thread. Raises LabFault where the kernel refuses. Source: unshare(2), mount_namespaces(7).
    """
    pairs = list(mounts)
    if not pairs:
        return
    c = ctypes.CDLL(None, use_errno=True)
    _check(c.unshare(_CLONE_NEWNS | _CLONE_NEWIPC), _UNSHARE)
    _check(c.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "making mounts private")
    for source, target in pairs:
        done = c.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(_MS_BIND | _MS_REC), None)
        _check(done, f"mounting {source} over {target}")


def _check(result: int, what: str) -> None:
    if result:
        raise LabFault(f"{what} is refused: {os.strerror(ctypes.get_errno())}")
