"""NSS: the software token of libsoftokn3, which is two databases in a folder.

NSS reads no configuration: C_Initialize gets in pReserved where the databases lie (see "PKCS #11 Module Specs" of NSS),
and refuses to work without. There is a token as soon as that has been called, without PINs, and only the user PIN is
set; certutil, which wants the PIN in a file, is not needed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from lab.errors import LabFault
from lab.tokens.golden import TOKEN_LABEL, GoldenToken
from lab.tokens.installed import Installed
from lab.tokens.model import TokenAccess, TokenSettings

MODULE: Final = Installed(
    what="nss",
    file="libsoftokn3.so",
    package="libnss3",
    patterns=(
        "/usr/lib/*/libsoftokn3.so",  # Debian 12
        "/usr/lib/*/nss/libsoftokn3.so",  # Debian before that, Ubuntu
        "/usr/lib64/libsoftokn3.so",  # Fedora
        "/usr/lib/libsoftokn3.so",
        "/usr/local/lib*/libsoftokn3.so",
    ),
    override="LAB_NSS",
)


class Nss(GoldenToken):
    """All kinds of keys can be made on it."""

    kind = "nss"
    module = MODULE
    comes_with_label = True

    def __init__(self, settings: TokenSettings) -> None:
        super().__init__()

    def _lay_out(self, folder: Path) -> None:
        """C_Initialize makes what is missing."""

    def _copy(self, golden: Path, folder: Path) -> None:
        shutil.copytree(golden, folder, dirs_exist_ok=True)

    def _access(self, folder: Path) -> TokenAccess:
        return TokenAccess(self.path, TOKEN_LABEL, self._pin, "", {}, init_string(folder))


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
