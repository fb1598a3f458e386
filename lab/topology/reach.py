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
_USUAL: Final = 0o755
_ROOT: Final = 0


@contextmanager
def rows_folder(trial: Path, private: Path) -> Iterator[Path]:
    """The folder for the tap's files: the trial's own, where every user can get to it.

    Where not (root's own home is closed to a server's workers), `private`, which is made here; its files are moved at
    the end.
    """
    if os.geteuid() != _ROOT or _open_to_all(trial):
        try:
            trial.chmod(_ANYBODY_WRITES)
            yield trial
        finally:
            trial.chmod(_USUAL)
        return
    private.mkdir()
    private.chmod(_ANYBODY_WRITES)
    try:
        yield private
    finally:
        for path in private.iterdir():
            shutil.move(path, trial / path.name)


def _open_to_all(folder: Path) -> bool:
    return all(path.stat().st_mode & stat.S_IXOTH for path in folder.resolve().parents)
