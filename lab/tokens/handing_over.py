"""What root restored, made another user's: a server's workers use the token, and SoftHSM rewrites its files."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError

_OWNERS: Final = 0o700


def hand_over(folder: Path, user: str) -> None:
    """Makes `folder`, and all in it, the user's (and of that user's group), and closes its folders to everybody else.

    Links are not followed, and what is above `folder` is not touched: the user must be able to pass there.
    Only root can do this for another user. Raises ScenarioError, `server.user: ...`, for a user who is not known here.
    """
    try:
        known = pwd.getpwnam(user)
    except KeyError:
        raise ScenarioError(f"server.user: {user} is no user of this machine") from None
    for at, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            path = os.path.join(at, name)
            if stat.S_ISDIR(os.lstat(path).st_mode):
                os.chmod(path, _OWNERS)
            os.chown(path, known.pw_uid, known.pw_gid, follow_symlinks=False)
    folder.chmod(_OWNERS)
    os.chown(folder, known.pw_uid, known.pw_gid)
