"""openCryptoki: a soft token of the lab's own, and its daemon pkcsslotd, at the fixed places where both are looked for.

All of these places are compiled in (opencryptoki.conf(5), pkcsslotd(8)), so a trial has mounts of its own over them.
Sources: those pages, and what 3.8.1 was seen to do (docs/decisions.md).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError
from lab.process.mounts import TMPFS
from lab.record.order import BesideOrder
from lab.tokens.golden import TOKEN_LABEL, GoldenToken
from lab.tokens.installed import Installed
from lab.tokens.model import TokenAccess, TokenSettings

MODULE: Final = Installed(
    what="opencryptoki",
    file="libopencryptoki.so.0",
    package="opencryptoki",
    patterns=(
        "/usr/lib/*/opencryptoki/libopencryptoki.so.0",  # Debian
        "/usr/lib64/opencryptoki/libopencryptoki.so.0",  # Fedora
        "/usr/local/lib*/opencryptoki/libopencryptoki.so.0",
    ),
    override="LAB_OPENCRYPTOKI",
)
DAEMON: Final = Installed(
    what="opencryptoki",
    file="pkcsslotd",
    package="opencryptoki",
    patterns=("/usr/sbin/pkcsslotd", "/usr/local/sbin/pkcsslotd"),
    override="LAB_PKCSSLOTD",
)
_GROUP: Final = "pkcs11"  # the library lets in root and users that /etc/group has here, and nobody else
_ROOT: Final = 0
_CONFIGURATION: Final = "version opencryptoki-3.1\nslot 0\n{\nstdll = libpkcs11_sw.so\n}\n"
_TOKEN: Final = "swtok"  # what the soft token's folders are called
_READY: Final = "/var/run/pkcsslotd.pid"  # written when it listens; its socket is there a little earlier
_ENVIRONMENT: Final = {"OPENCRYPTOKI_TRACE_LEVEL": "0"}  # what a user traces otherwise would slow a trial down


class OpenCryptoki(GoldenToken):
    """It is asked which keys it can make, too: older soft tokens have RSA only."""

    kind = "opencryptoki"
    module = MODULE
    pin_bytes = 4  # it takes no more than 8 characters
    initial_so_pin = "87654321"
    always_asked = True

    def __init__(self, settings: TokenSettings) -> None:
        super().__init__()

    def _find_parts(self) -> None:
        """Raises ScenarioError where something is missing, or the lab is not run by root."""
        _ = self.path, DAEMON.path("token.kind")
        if os.geteuid() != _ROOT:
            raise ScenarioError(
                "token.kind: opencryptoki: only root can give a trial a daemon and a token of its own, "
                "which lie at fixed places of the system; run the lab as root"
            )
        if not any(line.startswith(f"{_GROUP}:") for line in _group_lines()):
            raise ScenarioError(
                f"token.kind: opencryptoki: this machine has no group {_GROUP}, which pkcsslotd needs; "
                f"its package makes it, and so does `groupadd --system {_GROUP}`"
            )

    def _lay_out(self, folder: Path) -> None:
        """Makes what is missing of the places that daemon and library look at, but for the token's own files."""
        for name in ("etc", f"lib/{_TOKEN}/TOK_OBJ", f"run/lock/opencryptoki/{_TOKEN}"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "etc/opencryptoki.conf").write_text(_CONFIGURATION)
        (folder / "group").write_text(_group_with_everybody())

    def _copy(self, golden: Path, folder: Path) -> None:
        self._lay_out(folder)
        shutil.copytree(golden / "lib", folder / "lib", dirs_exist_ok=True)

    def _access(self, folder: Path) -> TokenAccess:
        """With a daemon of its own, in mounts of its own."""
        daemon = BesideOrder((str(DAEMON.path("token.kind")), "-f"), {}, user="root", ready=_READY)
        return TokenAccess(
            self.path, TOKEN_LABEL, self._pin, "", _ENVIRONMENT, beside=(daemon,), mounts=_mounts(folder)
        )


def _mounts(folder: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of (source, target) for a folder that is laid out.

    /run holds the daemon's socket and pid, /var/lock the locks of all processes (a folder of /run, on most systems),
    /dev/shm the objects' places in the token's files; into /var/log the daemon puts an empty folder.
    """
    at = folder.absolute()
    return (
        (f"{at}/etc", "/etc/opencryptoki"),
        (f"{at}/lib", "/var/lib/opencryptoki"),
        (f"{at}/group", "/etc/group"),
        (TMPFS, "/dev/shm"),
        (TMPFS, "/var/log"),
        (f"{at}/run", "/var/run"),
        (f"{at}/run/lock", "/var/lock"),
    )


def _group_with_everybody() -> str:
    """/etc/group with every user of the machine in the group: a trial's token is for whom the trial starts."""
    users = [line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines() if ":" in line]
    return "".join(
        f"{line.rpartition(':')[0]}:{','.join(users)}\n" if line.startswith(f"{_GROUP}:") else f"{line}\n"
        for line in _group_lines()
    )


def _group_lines() -> list[str]:
    return Path("/etc/group").read_text().splitlines()
