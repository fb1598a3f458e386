"""Where a file lies that a Debian package, or the like elsewhere, installs, and what to install where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError

LIBRARY_FOLDERS: Final = ("/usr/lib/*", "/usr/lib64", "/usr/lib", "/usr/local/lib*")
_PATIENCE_S: Final = 10


@dataclass(frozen=True)
class Installed:
    """A file that a token kind needs, and how to come by it."""

    what: str  # that a message says is not installed: softhsm, p11-kit
    file: str  # its name
    package: str  # of Debian
    patterns: tuple[str, ...]  # where to look, see find_installed()
    override: str = ""  # environment variable with its path, where it lies elsewhere or another build is wanted

    def find(self) -> Path | None:
        """The file, None where there is none."""
        return find_installed(self.override, self.patterns)

    def path(self, key: str) -> Path:
        """The file. Raises ScenarioError, which begins with `key`, where there is none."""
        if (found := self.find()) is not None:
            return found
        named = os.environ.get(self.override)
        looked = f"{self.override} names {named}, which is no file" if named else f"{self.file} is in no usual place"
        otherwise = f", or set {self.override} to the path of {self.file}" if self.override else ""
        raise ScenarioError(
            f"{key}: {self.what} is not installed ({looked}); install the Debian package {self.package}{otherwise}"
        )


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


def program(name: str, package: str, key: str) -> Path:
    """A program of the PATH. Raises ScenarioError, which begins with `key`, where there is none."""
    if (found := shutil.which(name)) is None:
        raise ScenarioError(f"{key}: the program {name} is not installed; install the Debian package {package}")
    return Path(found).absolute()


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
