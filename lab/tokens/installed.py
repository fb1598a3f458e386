"""Where a module lies that a Debian package, or the like elsewhere, installs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PATIENCE_S: Final = 10


def find_installed(override: str, patterns: Iterable[str]) -> Path | None:
    """The file, None where there is none. The variable `override`, where set, names the only place that is looked at.

    `patterns` are absolute and may hold *; the first that fits something wins.
    """
    if named := os.environ.get(override):
        return Path(named).absolute() if Path(named).is_file() else None
    for pattern in patterns:
        for found in sorted(Path("/").glob(pattern.removeprefix("/"))):
            return found
    return None


def package_of(file: Path) -> tuple[str, str] | None:
    """Name and version of the Debian package that a file belongs to; None where that cannot be had."""
    if shutil.which("dpkg-query") is None:
        return None
    # A merged /usr has two names for a file, and dpkg knows one of them.
    names = dict.fromkeys([str(file), str(file).removeprefix("/usr"), os.path.realpath(file)])
    owner = next(filter(None, (_said("dpkg-query", "--search", name) for name in names)), None)
    name = owner.partition(": ")[0] if owner else ""
    version = _said("dpkg-query", "--show", "--showformat=${Version}", name) if name else None
    return (name, version) if version else None


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
