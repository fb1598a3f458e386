"""NSS: the software token of libsoftokn3, with databases of the lab's own, made once per run and copied for each trial.

NSS reads no configuration: C_Initialize gets in pReserved where the databases lie (see "PKCS #11 Module Specs" of NSS),
and refuses to work without. There is a token as soon as that has been called, without PINs, and only the user PIN is
set; certutil, which wants the PIN in a file, is not needed.
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
OVERRIDE: Final = "LAB_NSS"
"""Environment variable with the path of libsoftokn3.so, where it lies elsewhere or another build is wanted."""

_PATTERNS: Final = (
    "/usr/lib/*/libsoftokn3.so",  # Debian 12
    "/usr/lib/*/nss/libsoftokn3.so",  # Debian before that, Ubuntu
    "/usr/lib64/libsoftokn3.so",  # Fedora
    "/usr/lib/libsoftokn3.so",
    "/usr/local/lib*/libsoftokn3.so",
)
_PIN_BYTES: Final = 8


def find_module() -> Path | None:
    """Path of libsoftokn3.so, None where there is none. LAB_NSS, where set, is the only place looked at."""
    return find_installed(OVERRIDE, _PATTERNS)


class Nss:
    """A token per run. The labels of its keys are their names, its PIN is drawn per run and only held in memory."""

    kind: Final = "nss"

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
        """See Token. All kinds of keys can be made, so `keys` is not looked at."""
        module = self.path
        if mechanisms or decrypt:
            with tempfile.TemporaryDirectory(prefix="lab-token-", dir=folder) as temporary:
                request = Request(
                    "offer",
                    str(module),
                    TOKEN_LABEL,
                    init_string=init_string(Path(temporary)),
                    mechanisms=tuple(sorted(mechanisms)),
                    uses=uses_of(keys, decrypt),
                )
                ask(request, {})
        return {}

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """Makes the golden copy in `folder`, with all of the keys. RSA-4096 takes a second or more."""
        folder.mkdir(mode=0o700)
        request = Request(
            "provision",
            str(self.path),
            TOKEN_LABEL,
            pin=self._pin.reveal(),
            initialised=True,
            init_string=init_string(folder),
            keys={name: name for name in sorted(keys | decrypt)},
            uses=uses_of(keys, decrypt),
        )
        made = prepared(ask(request, {}))
        self._golden = folder
        return made

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """Copies the golden databases to `folder`; the trial's processes may change and break their copy."""
        if self._golden is None:
            raise LabFault("restore() of an NSS token before prepare()")
        folder.mkdir(mode=0o700)
        shutil.copytree(self._golden, folder, dirs_exist_ok=True)
        return TokenAccess(self.path, TOKEN_LABEL, self._pin, key or "", {}, init_string(folder))

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
            looked = f"{OVERRIDE} names {where}, which is no file" if where else "libsoftokn3.so is in no usual place"
            raise ScenarioError(
                f"token.kind: nss is not installed ({looked}); install the Debian package libnss3, "
                f"or set {OVERRIDE} to the path of libsoftokn3.so"
            )
        return module


def init_string(folder: Path) -> str:
    """What C_Initialize is told: the databases of `folder`, made there if they are missing, as the token "lab".

    A value of NSS's module spec stands between quotes, with a backslash before each quote and backslash in it. Raises
    LabFault where the path is no UTF-8, which the rest of this text is.
    """
    path = str(folder.absolute())
    try:
        path.encode()
    except UnicodeEncodeError:
        raise LabFault(f"{path!r} is not UTF-8, and NSS is told of its folder in text; use another TMPDIR") from None
    quoted = path.replace("\\", "\\\\").replace("'", "\\'")
    return f"configdir='sql:{quoted}' dbTokenDescription='{TOKEN_LABEL}'"
