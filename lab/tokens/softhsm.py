"""SoftHSM: a software token of the lab's own, made once per run and copied for each trial.

Made through the module itself and never with softhsm2-util, which takes PINs as arguments that everybody can read.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lab.errors import LabFault, ScenarioError
from lab.tokens.installed import find_installed
from lab.tokens.model import KeyInfo, Prepared, Secret, TokenAccess, TokenSettings
from lab.tokens.request import Request, uses_of
from lab.tokens.throwaway import ask, prepared

TOKEN_LABEL: Final = "lab"
OVERRIDE: Final = "LAB_SOFTHSM"
"""Environment variable with the path of libsofthsm2.so, where it lies elsewhere or another build is wanted."""

_PATTERNS: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",  # Debian
    "/usr/lib/*/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",  # Fedora
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
_PIN_BYTES: Final = 8


def find_module() -> Path | None:
    """Path of libsofthsm2.so, None where there is none. LAB_SOFTHSM, where set, is the only place looked at."""
    return find_installed(OVERRIDE, _PATTERNS)


class SoftHsm:
    """A token per run. The labels of its keys are their names, its PINs are drawn per run and only held in memory."""

    kind: Final = "softhsm"

    def __init__(self, settings: TokenSettings) -> None:
        self._reset_on_fork = bool(settings.reset_on_fork)
        self._pin = Secret(secrets.token_hex(_PIN_BYTES))
        self._golden: Path | None = None

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """See Token. All kinds of keys can be made, so `keys` is not looked at."""
        module = self.path
        if mechanisms or decrypt:
            with tempfile.TemporaryDirectory(prefix="lab-token-", dir=folder) as temporary:
                environment = _configure(Path(temporary), self._reset_on_fork)
                uses = uses_of(keys, decrypt)
                ask(Request("offer", str(module), mechanisms=tuple(sorted(mechanisms)), uses=uses), environment)
        return {}

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """Makes the golden copy in `folder`, with all of the keys. RSA-4096 takes a second or more."""
        folder.mkdir(mode=0o700)
        request = Request(
            "provision",
            str(self.path),
            TOKEN_LABEL,
            pin=self._pin.reveal(),
            so_pin=secrets.token_hex(_PIN_BYTES),
            keys={name: name for name in sorted(keys | decrypt)},
            uses=uses_of(keys, decrypt),
        )
        made = prepared(ask(request, _configure(folder, self._reset_on_fork)))
        self._golden = folder
        return made

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """Copies the golden token into `folder`; the trial's processes may change and break their copy."""
        if self._golden is None:
            raise LabFault("restore() of a SoftHSM token before prepare()")
        folder.mkdir(mode=0o700)
        shutil.copytree(self._golden / "tokens", folder / "tokens")
        environment = _configure(folder, self._reset_on_fork)
        return TokenAccess(self.path, TOKEN_LABEL, self._pin, key or "", environment)

    def retire(self) -> None:
        """Removes the golden copy. Trials' copies belong to their trials."""
        if self._golden is not None:
            shutil.rmtree(self._golden, ignore_errors=True)
            self._golden = None

    @property
    def path(self) -> Path:
        """See Token."""
        module = find_module()
        if module is None:
            where = os.environ.get(OVERRIDE)
            looked = f"{OVERRIDE} names {where}, which is no file" if where else "libsofthsm2.so is in no usual place"
            raise ScenarioError(
                f"token.kind: softhsm is not installed ({looked}); install the Debian package softhsm2, "
                f"or set {OVERRIDE} to the path of libsofthsm2.so"
            )
        return module


def _configure(folder: Path, reset_on_fork: bool) -> dict[str, str]:
    """Writes softhsm2.conf, makes the folder of tokens where it is missing, and returns the environment for them."""
    tokens = folder.absolute() / "tokens"
    tokens.mkdir(mode=0o700, exist_ok=True)
    configuration = folder.absolute() / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\n"
        "objectstore.backend = file\n"
        "objectstore.umask = 0077\n"
        "log.level = ERROR\n"
        "slots.removable = false\n"
        f"library.reset_on_fork = {'true' if reset_on_fork else 'false'}\n"
    )
    return {"SOFTHSM2_CONF": str(configuration)}
