"""How long the path of a Unix socket may be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from lab.errors import LabFault

_LONGEST: Final = 107  # bytes of sockaddr_un.sun_path, without its end


def check_length(socket: Path, suffix: str = "") -> None:
    """Raises LabFault where the path, with what a program adds to it, is too long for the kernel."""
    if len(os.fsencode(socket)) + len(suffix) > _LONGEST:
        raise LabFault(f"{socket}: longer than the {_LONGEST} bytes of a socket's path; use a shorter TMPDIR")
