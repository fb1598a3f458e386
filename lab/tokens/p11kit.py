"""p11-kit over a private SoftHSM: its proxy module, and its server with the client module that talks to it.

Both are made, checked and copied as SoftHSM is, without p11-kit; only a trial's processes go through p11-kit.
Sources: pkcs11.conf(5), p11-kit(8), and what p11-kit 0.24 was seen to do (docs/decisions.md).
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

from lab.errors import LabFault, ScenarioError
from lab.native import library
from lab.record.order import BesideOrder
from lab.tokens.installed import find_installed
from lab.tokens.model import KeyInfo, Prepared, TokenAccess, TokenSettings
from lab.tokens.softhsm import TOKEN_LABEL, SoftHsm

_FOLDERS: Final = ("/usr/lib/*", "/usr/lib64", "/usr/lib", "/usr/local/lib*")
_LONGEST_SOCKET: Final = 107  # bytes of sockaddr_un.sun_path, without its end


@dataclass(frozen=True)
class Installed:
    """A module of p11-kit, and how to come by it."""

    override: str  # environment variable with its path, where it lies elsewhere or another build is wanted
    file: str
    patterns: tuple[str, ...]

    def find(self) -> Path | None:
        return find_installed(self.override, self.patterns)


PROXY: Final = Installed(
    "LAB_P11_KIT_PROXY", "p11-kit-proxy.so", tuple(f"{folder}/p11-kit-proxy.so" for folder in _FOLDERS)
)
CLIENT: Final = Installed(
    "LAB_P11_KIT_CLIENT", "p11-kit-client.so", tuple(f"{folder}/pkcs11/p11-kit-client.so" for folder in _FOLDERS)
)


class _OverSoftHsm(ABC):
    """A SoftHsm that a trial reaches in another way."""

    kind: ClassVar[str]
    installed: ClassVar[Installed]

    def __init__(self, settings: TokenSettings) -> None:
        self._softhsm = SoftHsm(settings)

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """See Token."""
        self._find_parts()
        return self._softhsm.check(keys, mechanisms, folder, decrypt)

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """See SoftHsm; what it saw of the library and the token is SoftHSM's."""
        return self._softhsm.prepare(keys, folder, decrypt)

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """Copies the golden token into `folder`, beside what p11-kit needs to find it."""
        folder.mkdir(mode=0o700)
        return self._through_p11_kit(folder.absolute(), self._softhsm.restore(folder / "softhsm", key))

    def retire(self) -> None:
        """See Token."""
        self._softhsm.retire()

    @property
    def path(self) -> Path:
        """The module of p11-kit. Raises ScenarioError where it is not there."""
        if (found := self.installed.find()) is not None:
            return found
        named = os.environ.get(self.installed.override)
        looked = (
            f"{self.installed.override} names {named}, which is no file"
            if named
            else f"{self.installed.file} is in no usual place"
        )
        raise ScenarioError(
            f"token.kind: {self.kind}: p11-kit is not installed ({looked}); install the Debian package "
            f"p11-kit-modules, or set {self.installed.override} to the path of {self.installed.file}"
        )

    def _find_parts(self) -> None:
        """Raises ScenarioError where something of p11-kit is missing."""
        _ = self.path

    @abstractmethod
    def _through_p11_kit(self, folder: Path, softhsm: TokenAccess) -> TokenAccess:
        """The same token, reached through p11-kit, whose own files go to `folder`."""


class P11KitProxy(_OverSoftHsm):
    """p11-kit's proxy module, with a configuration of the trial's own that knows this SoftHSM and nothing else.

    p11-kit reads no user's configuration where the user is root, so root would get the system's modules.
    """

    kind = "p11kit-proxy"
    installed = PROXY

    def _through_p11_kit(self, folder: Path, softhsm: TokenAccess) -> TokenAccess:
        own = folder / "config" / "pkcs11"
        modules = own / "modules"
        modules.mkdir(parents=True, mode=0o700)
        (own / "pkcs11.conf").write_text("user-config: only\n")
        # critical: a SoftHSM that cannot be loaded is an error, and not a proxy that knows no token.
        (modules / "lab.module").write_text(f"module: {softhsm.module}\ncritical: yes\n")
        environment = {**softhsm.environment, "XDG_CONFIG_HOME": str(own.parent)}
        return replace(softhsm, module=self.path, environment=environment, unprivileged=True)


class P11KitRemote(_OverSoftHsm):
    """p11-kit's client module, and a `p11-kit server` on a socket of the trial's own that has the token.

    For each connection the server starts a process that loads the module: the tap, so that its calls are recorded.
    The socket is for its owner and root alone. So where the folder is handed over to a user, BesideOrder.user must be
    that user too; restore() leaves it None.
    """

    kind = "p11kit-remote"
    installed = CLIENT

    def _find_parts(self) -> None:
        super()._find_parts()
        _program()

    def _through_p11_kit(self, folder: Path, softhsm: TokenAccess) -> TokenAccess:
        socket = folder / "p11-kit"
        if len(os.fsencode(socket)) > _LONGEST_SOCKET:
            raise LabFault(
                f"{socket}: longer than the {_LONGEST_SOCKET} bytes of a socket's path; use a shorter TMPDIR"
            )
        owner = BesideOrder(
            command=(
                str(_program()),
                "server",
                "--foreground",
                "--name",
                str(socket),
                "--provider",
                str(library("tap")),
                f"pkcs11:token={TOKEN_LABEL}",
            ),
            environment={**softhsm.environment, "LAB_TAP_MODULE": str(softhsm.module)},
            user=None,
            ready=str(socket),
        )
        address = {"P11_KIT_SERVER_ADDRESS": f"unix:path={quote(str(socket))}"}
        return replace(softhsm, module=self.path, environment=address, beside=(owner,))


def _program() -> Path:
    if (found := shutil.which("p11-kit")) is None:
        raise ScenarioError(
            "token.kind: p11kit-remote: the program p11-kit is not installed; install the Debian package p11-kit"
        )
    return Path(found).absolute()
