"""Where a module lies that a Debian package, or the like elsewhere, installs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


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
