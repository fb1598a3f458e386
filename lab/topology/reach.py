"""Where processes that are another user than the lab write their rows."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_ANYBODY_WRITES: Final = 0o1777  # as /tmp: a server's workers are other users than its parent
_ROOT: Final = 0


@contextmanager
def rows_folder(trial: Path, private: Path) -> Iterator[Path]:
    """The folder for the tap's files.

    Root does not open the trial's own to everybody, for what others put there root would follow when it writes. It is
    `private` then, made here, whose files are moved at the end; nothing else that lies in it is.
    """
    if os.geteuid() != _ROOT:
        yield trial
        return
    private.mkdir()
    private.chmod(_ANYBODY_WRITES)
    try:
        yield private
    finally:
        for path in private.iterdir():
            if path.name.startswith("calls-") and stat.S_ISREG(path.lstat().st_mode):
                shutil.move(path, trial / path.name)
