"""SoftHSM: a software token that is a folder of files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from lab.tokens.golden import TOKEN_LABEL, GoldenToken
from lab.tokens.installed import Installed
from lab.tokens.model import TokenAccess, TokenSettings

MODULE: Final = Installed(
    what="softhsm",
    file="libsofthsm2.so",
    package="softhsm2",
    patterns=(
        "/usr/lib/softhsm/libsofthsm2.so",  # Debian
        "/usr/lib/*/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",  # Fedora
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ),
    override="LAB_SOFTHSM",
)


class SoftHsm(GoldenToken):
    """All kinds of keys can be made on it."""

    kind = "softhsm"
    module = MODULE

    def __init__(self, settings: TokenSettings) -> None:
        super().__init__()
        self._reset_on_fork = bool(settings.reset_on_fork)

    def _lay_out(self, folder: Path) -> None:
        """Writes softhsm2.conf, and makes the folder of tokens where it is missing."""
        tokens = folder.absolute() / "tokens"
        tokens.mkdir(mode=0o700, exist_ok=True)
        _configuration(folder).write_text(
            f"directories.tokendir = {tokens}\n"
            "objectstore.backend = file\n"
            "objectstore.umask = 0077\n"
            "log.level = ERROR\n"
            "slots.removable = false\n"
            f"library.reset_on_fork = {'true' if self._reset_on_fork else 'false'}\n"
        )

    def _copy(self, golden: Path, folder: Path) -> None:
        shutil.copytree(golden / "tokens", folder / "tokens")
        self._lay_out(folder)

    def _access(self, folder: Path) -> TokenAccess:
        return TokenAccess(self.path, TOKEN_LABEL, self._pin, "", {"SOFTHSM2_CONF": str(_configuration(folder))})


def _configuration(folder: Path) -> Path:
    return folder.absolute() / "softhsm2.conf"
