"""The C stacks of a hung process, as eu-stack (elfutils) prints them: names of functions, never their arguments."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

_PATIENCE_S: Final = 10


def save_stack(pid: int, file: Path) -> bool:
    """Writes the stacks of all threads of a living process; False, and the reason in the file, where it cannot."""
    if shutil.which("eu-stack") is None:
        file.write_text("no stack: eu-stack is not installed (Debian package elfutils)\n")
        return False
    try:
        done = subprocess.run(["eu-stack", "-p", str(pid)], capture_output=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        file.write_text(f"no stack: eu-stack gave none within {_PATIENCE_S} s\n")
        return False
    file.write_bytes(done.stdout or b"no stack: " + done.stderr)
    return bool(done.stdout)


def outer(stack: str) -> str:
    """Without the frames below a call by ctypes, which are the lab's own interpreter."""
    kept, skips = [], False
    for line in stack.splitlines():
        skips = skips and not line.startswith("TID")
        if not skips:
            kept.append(line)
        skips |= " ffi_call" in line
    return "\n".join(kept)
