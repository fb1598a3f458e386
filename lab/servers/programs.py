"""Where the programs of real servers lie, and which version each is. Nothing of a server is started to find out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError
from lab.servers.model import ServerName

_PATIENCE_S: Final = 10
_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin")  # servers lie here, and a user's PATH often leaves them out


@dataclass(frozen=True)
class Program:
    """A server's program, and how to come by it."""

    override: str  # environment variable with its path, where it lies elsewhere or another build is wanted
    what: str
    package: str  # of Debian
    names: tuple[str, ...]  # of its file, the first that is found
    ask_version: str  # the argument that makes it say its version and end
    version: re.Pattern[str]  # of what it then says, on stdout or on stderr


PROGRAMS: Final[Mapping[ServerName, Program]] = {
    "httpd": Program(
        "LAB_HTTPD",
        "Apache httpd",
        "apache2",
        ("apache2", "httpd"),
        "-v",
        re.compile(r"^Server version: (Apache/.+)$", re.MULTILINE),
    ),
    "nginx": Program(
        "LAB_NGINX", "nginx", "nginx", ("nginx",), "-v", re.compile(r"^nginx version: (\S+)", re.MULTILINE)
    ),
    "stunnel": Program(
        "LAB_STUNNEL",
        "stunnel",
        "stunnel4",
        ("stunnel", "stunnel4"),
        "-version",
        re.compile(r"\b(stunnel \d[\w.]*)"),
    ),
}


def find_program(name: ServerName) -> Path:
    """The program of a server. Raises ScenarioError, `tls.server: httpd: ...`, where there is none."""
    program = PROGRAMS[name]
    if named := os.environ.get(program.override):
        if not _runs(Path(named)):
            raise ScenarioError(
                f"tls.server: {name}: {program.override} names {named}, which is no program; without it the Debian "
                f"package {program.package} is used"
            )
        return Path(named).absolute()
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *_FOLDERS))
    for file in program.names:
        if found := shutil.which(file, path=search):
            return Path(found).absolute()
    raise ScenarioError(
        f"tls.server: {name}: {program.what} is not installed; install the Debian package {program.package}, "
        f"or set {program.override} to the path of its program"
    )


def version_of(name: ServerName) -> str:
    """Such as "Apache/2.4.62 (Debian)", "nginx/1.22.1" or "stunnel 5.68", as the program itself says it.

    Raises ScenarioError, `tls.server: httpd: ...`, where there is no program, or what is there is another one.
    """
    path, program = find_program(name), PROGRAMS[name]
    try:
        done = subprocess.run(
            [path, program.ask_version],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except OSError as error:
        raise ScenarioError(f"tls.server: {name}: {path} cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ScenarioError(f"tls.server: {name}: {path} did not say its version within {_PATIENCE_S} s") from None
    if found := program.version.search(f"{done.stdout}\n{done.stderr}"):
        return found[1].strip()
    raise ScenarioError(f"tls.server: {name}: {path} is not {program.what}: it does not say which version it is")


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
