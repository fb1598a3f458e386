"""The token's folder as it was, brought back between scenes: a TPM counts failures, and locks the PIN after some."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


class Pristine:
    """A copy of a folder's files, taken while no program works on them."""

    def __init__(self, folder: Path, copy: Path) -> None:
        self._folder, self._copy = folder, copy
        shutil.copytree(folder, copy, symlinks=True, ignore=_all_but_files)

    def bring_back(self) -> None:
        """Files get their old contents and new ones go. Folders stay, for they may be mounted elsewhere."""
        for path in sorted(self._folder.rglob("*"), reverse=True):
            if (
                not (path.is_dir() and not path.is_symlink())
                and not (self._copy / path.relative_to(self._folder)).exists()
            ):
                path.unlink()
        for old in self._copy.rglob("*"):
            if old.is_file() and not old.is_symlink():
                _write(old, self._folder / old.relative_to(self._copy))


def _write(old: Path, new: Path) -> None:
    """In place, where the file is still there: it may be mounted elsewhere, too."""
    missing = not new.exists()
    new.write_bytes(old.read_bytes())
    if missing:
        was = old.stat()
        os.chown(new, was.st_uid, was.st_gid)
        new.chmod(stat.S_IMODE(was.st_mode))


def _all_but_files(folder: str, names: list[str]) -> list[str]:
    """Sockets and the like, which cannot be copied."""
    paths = [(name, os.path.join(folder, name)) for name in names]
    return [name for name, path in paths if not (os.path.islink(path) or os.path.isdir(path) or os.path.isfile(path))]
