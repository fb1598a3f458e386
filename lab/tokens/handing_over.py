"""Files of a token that belong to another user than the lab: SoftHSM rewrites its own at each login."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path


def hand_over(folder: Path, user: str) -> None:
    """Gives a folder with all that is in it to a user.

    Nobody else but root reaches what is in it: folders of tokens are mode 0700.
    """
    group = pwd.getpwnam(user).pw_gid
    for path in (folder, *(Path(top) / name for top, folders, files in os.walk(folder) for name in folders + files)):
        if not path.is_symlink():
            shutil.chown(path, user, group)
