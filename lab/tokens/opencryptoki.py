"""openCryptoki: a soft token of the lab's own, and its daemon pkcsslotd, at the fixed places where both are looked for.

All of these places are compiled in (opencryptoki.conf(5), pkcsslotd(8)), so a trial has mounts of its own over them.
Sources: those pages, and what 3.8.1 was seen to do (docs/decisions.md).
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lab.errors import LabFault, ScenarioError
from lab.process.mounts import TMPFS
from lab.record.order import BesideOrder
from lab.tokens.installed import find_installed
from lab.tokens.model import KeyInfo, Prepared, Secret, TokenAccess, TokenSettings
from lab.tokens.request import Request, uses_of
from lab.tokens.throwaway import ask, prepared

TOKEN_LABEL: Final = "lab"
OVERRIDE: Final = "LAB_OPENCRYPTOKI"
"""Environment variable with the path of libopencryptoki.so.0, where it lies elsewhere or another build is wanted."""

DAEMON_OVERRIDE: Final = "LAB_PKCSSLOTD"
"""The same for its daemon."""

_PATTERNS: Final = (
    "/usr/lib/*/opencryptoki/libopencryptoki.so.0",  # Debian
    "/usr/lib64/opencryptoki/libopencryptoki.so.0",  # Fedora
    "/usr/local/lib*/opencryptoki/libopencryptoki.so.0",
)
_DAEMONS: Final = ("/usr/sbin/pkcsslotd", "/usr/local/sbin/pkcsslotd")
_GROUP: Final = "pkcs11"  # the library lets in root and users that /etc/group has here, and nobody else
_ROOT: Final = 0
_PIN_BYTES: Final = 4  # in hex 8 characters, and it takes no more
_INITIAL_SO_PIN: Final = "87654321"
_CONFIGURATION: Final = "version opencryptoki-3.1\nslot 0\n{\nstdll = libpkcs11_sw.so\n}\n"
_TOKEN: Final = "swtok"  # what the soft token's folders are called
_READY: Final = "/var/run/pkcsslotd.pid"  # written when it listens; its socket is there a little earlier


class OpenCryptoki:
    """A token per run. The labels of its keys are their names, its PINs are drawn per run and only held in memory."""

    kind: Final = "opencryptoki"

    def __init__(self, settings: TokenSettings) -> None:
        self._pin = Secret(secrets.token_hex(_PIN_BYTES))
        self._golden: Path | None = None

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """See Token. Asks the token which keys it can make, too: older soft tokens have RSA only."""
        self._find_parts()
        with tempfile.TemporaryDirectory(prefix="lab-token-", dir=folder) as temporary:
            place = Path(temporary)
            _lay_out(place)
            request = Request(
                "offer",
                str(self.path),
                keys={name: name for name in sorted(keys | decrypt)},
                mechanisms=tuple(sorted(mechanisms)),
                uses=uses_of(keys, decrypt),
                beside=self._daemon(),
                mounts=_mounts(place),
            )
            ask(request, _ENVIRONMENT)
        return {}

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """Makes the golden copy in `folder`, with all of the keys. RSA-4096 takes seconds."""
        self._find_parts()
        folder.mkdir(mode=0o700)
        _lay_out(folder)
        request = Request(
            "provision",
            str(self.path),
            TOKEN_LABEL,
            pin=self._pin.reveal(),
            so_pin=secrets.token_hex(_PIN_BYTES),
            initial_so_pin=_INITIAL_SO_PIN,
            keys={name: name for name in sorted(keys | decrypt)},
            uses=uses_of(keys, decrypt),
            beside=self._daemon(),
            mounts=_mounts(folder),
        )
        made = prepared(ask(request, _ENVIRONMENT))
        self._golden = folder
        return made

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """Copies the golden token into `folder`, which is laid out for a daemon of the trial's own."""
        if self._golden is None:
            raise LabFault("restore() of an openCryptoki token before prepare()")
        folder.mkdir(mode=0o700)
        _lay_out(folder)
        shutil.copytree(self._golden / "lib", folder / "lib", dirs_exist_ok=True)
        return TokenAccess(
            self.path,
            TOKEN_LABEL,
            self._pin,
            key or "",
            _ENVIRONMENT,
            beside=self._daemon(),
            mounts=_mounts(folder),
        )

    def retire(self) -> None:
        """Removes the golden copy. Trials' copies belong to their trials."""
        if self._golden is not None:
            shutil.rmtree(self._golden, ignore_errors=True)
            self._golden = None

    @property
    def path(self) -> Path:
        """See Token."""
        return _installed("libopencryptoki.so.0", OVERRIDE, _PATTERNS)

    def _find_parts(self) -> None:
        """Raises ScenarioError where something is missing, or the lab is not run by root."""
        _ = self.path, self._daemon()
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

    def _daemon(self) -> tuple[BesideOrder]:
        program = _installed("pkcsslotd", DAEMON_OVERRIDE, _DAEMONS)
        return (BesideOrder((str(program), "-f"), {}, user="root", ready=_READY),)


_ENVIRONMENT: Final = {"OPENCRYPTOKI_TRACE_LEVEL": "0"}  # what a user traces otherwise would slow a trial down


def _installed(file: str, override: str, patterns: Iterable[str]) -> Path:
    if (found := find_installed(override, patterns)) is not None:
        return found
    named = os.environ.get(override)
    looked = f"{override} names {named}, which is no file" if named else f"{file} is in no usual place"
    raise ScenarioError(
        f"token.kind: opencryptoki is not installed ({looked}); install the Debian package opencryptoki, "
        f"or set {override} to the path of {file}"
    )


def _lay_out(folder: Path) -> None:
    """Makes what is missing of the places that the daemon and the library look at, but for the token's own files."""
    for name in ("etc", f"lib/{_TOKEN}/TOK_OBJ", f"run/lock/opencryptoki/{_TOKEN}"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "etc/opencryptoki.conf").write_text(_CONFIGURATION)
    (folder / "group").write_text(_group_with_everybody())


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
