"""p11-kit over another token: its proxy module, and its server with the client module that talks to it.

The token is made, checked and restored as it is without p11-kit; only a trial's processes go through p11-kit.
Sources: pkcs11.conf(5), p11-kit(8), and what p11-kit 0.24 was seen to do (docs/decisions.md).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

from lab.errors import ScenarioError
from lab.native import library
from lab.record.order import BesideOrder
from lab.tokens.installed import LIBRARY_FOLDERS, Installed, program
from lab.tokens.model import KeyInfo, Prepared, Token, TokenAccess
from lab.tokens.socket_path import check_length

_PACKAGES_MODULES: Final = "/usr/share/p11-kit/modules"
_SYSTEM: Final = "/etc/pkcs11"
_ROOT: Final = 0


PROXY: Final = Installed(
    what="p11-kit",
    file="p11-kit-proxy.so",
    package="p11-kit-modules",
    patterns=tuple(f"{folder}/p11-kit-proxy.so" for folder in LIBRARY_FOLDERS),
    override="LAB_P11_KIT_PROXY",
)
CLIENT: Final = Installed(
    what="p11-kit",
    file="p11-kit-client.so",
    package="p11-kit-modules",
    patterns=tuple(f"{folder}/pkcs11/p11-kit-client.so" for folder in LIBRARY_FOLDERS),
    override="LAB_P11_KIT_CLIENT",
)


class _Over(ABC):
    """A token that a trial reaches in another way."""

    kind: ClassVar[str]
    installed: ClassVar[Installed]

    def __init__(self, inner: Token) -> None:
        self._inner = inner

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """See Token."""
        self._find_parts()
        return self._inner.check(keys, mechanisms, folder, decrypt)

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """See Token; what it saw of the library and the token is the inner one's."""
        return self._inner.prepare(keys, folder, decrypt)

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """The inner token in `folder`, beside what p11-kit needs to find it."""
        folder.mkdir(mode=0o700)
        return self._through_p11_kit(folder.absolute(), self._inner.restore(folder / self._inner.kind, key))

    def retire(self) -> None:
        """See Token."""
        self._inner.retire()

    @property
    def path(self) -> Path:
        """The module of p11-kit. Raises ScenarioError where it is not there."""
        return self.installed.path(f"token.kind: {self.kind}")

    def _find_parts(self) -> None:
        """Raises ScenarioError where something of p11-kit is missing."""
        _ = self.path

    @abstractmethod
    def _through_p11_kit(self, folder: Path, inner: TokenAccess) -> TokenAccess:
        """The same token, reached through p11-kit, whose own files go to `folder`."""


class P11KitProxy(_Over):
    """p11-kit's proxy module, with a configuration of the trial's own that knows this token and nothing else.

    p11-kit reads no user's configuration where the user is root. So root has the trial's lie over the machine's, in
    the trial's own namespace.
    """

    kind = "p11kit-proxy"
    installed = PROXY

    def _find_parts(self) -> None:
        super()._find_parts()
        if os.geteuid() == _ROOT and not os.path.isdir(_PACKAGES_MODULES):
            raise ScenarioError(
                f"token.kind: {self.kind}: {_PACKAGES_MODULES} is not there, where root's p11-kit looks for modules; "
                "install the Debian package p11-kit-modules"
            )

    def _through_p11_kit(self, folder: Path, inner: TokenAccess) -> TokenAccess:
        own = folder / "config" / "pkcs11"
        modules = own / "modules"
        modules.mkdir(parents=True, mode=0o700)
        (own / "pkcs11.conf").write_text("user-config: only\n")
        # critical: a module that cannot be loaded is an error, and not a proxy that knows no token.
        lines = [f"module: {inner.module}", "critical: yes"]
        if inner.init_string is not None:
            lines.append(f"x-init-reserved: {inner.init_string}")
        (modules / "lab.module").write_text("\n".join(lines) + "\n")
        environment = {**inner.environment, "XDG_CONFIG_HOME": str(own.parent)}
        for_root = _over_the_machines(folder, modules) if os.geteuid() == _ROOT else ()
        return replace(
            inner,
            module=self.path,
            environment=environment,
            init_string=None,
            mounts=(*inner.mounts, *for_root),
            root_mounts=for_root,
        )


def _over_the_machines(folder: Path, modules: Path) -> tuple[tuple[str, str], ...]:
    """Mounts that put `modules` in the place of the machine's, and nothing in that of what its administrator says."""
    own = ((str(modules), _PACKAGES_MODULES),)
    if not os.path.isdir(_SYSTEM):
        return own
    nothing = folder / "nothing"
    nothing.mkdir(mode=0o700)
    return (*own, (str(nothing), _SYSTEM))


class P11KitRemote(_Over):
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

    def _through_p11_kit(self, folder: Path, inner: TokenAccess) -> TokenAccess:
        socket = folder / "p11-kit"
        token = f"pkcs11:token={quote(inner.token_label, safe='')}"
        owner = BesideOrder(
            command=(
                *(str(_program()), "server", "--foreground", "--name", str(socket)),
                *("--provider", str(library("tap")), token),
            ),
            environment=owner_environment(inner),
            user=None,
            ready=str(socket),
            owner=True,
        )
        return replace(
            inner,
            module=self.path,
            environment=reached_at(socket),
            init_string=None,
            beside=(*inner.beside, owner),
        )


def owner_environment(access: TokenAccess) -> dict[str, str]:
    """Of a program that calls the module of `access` for others, through the tap.

    The locking is its own affair, whatever the others declare to p11-kit's client.
    """
    init = {} if access.init_string is None else {"LAB_TAP_INIT": access.init_string}
    return {**access.environment, **init, "LAB_TAP_MODULE": str(access.module), "LAB_TAP_LOCKING": "os"}


def reached_at(socket: Path, suffix: str = "") -> dict[str, str]:
    """The environment in which p11-kit's client module finds the socket. Raises LabFault where its name is too long."""
    check_length(socket, suffix)
    return {"P11_KIT_SERVER_ADDRESS": f"unix:path={quote(str(socket))}"}


def _program() -> Path:
    return program("p11-kit", "p11-kit", "token.kind: p11kit-remote")
