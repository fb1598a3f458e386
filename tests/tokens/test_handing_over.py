"""Handing a folder over needs root, and CI is root; anybody may hand over to themselves, which shows the modes."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.tokens.handing_over import hand_over

USER = "www-data" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "token"
    (folder / "below" / "deep").mkdir(parents=True)
    (folder / "below" / "deep" / "object").write_text("x")
    (folder / "below" / "deep" / "object").chmod(0o640)
    (tmp_path / "outside").write_text("x")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "below").chmod(0o755)
    return folder


def test_all_of_it_is_the_users_and_only_the_user_gets_in(folder: Path) -> None:
    known = pwd.getpwnam(USER)

    hand_over(folder, USER)

    for path in (folder, *folder.rglob("*")):
        of = path.lstat()
        assert (of.st_uid, of.st_gid) == (known.pw_uid, known.pw_gid), path
        if stat.S_ISDIR(of.st_mode):
            assert stat.S_IMODE(of.st_mode) == 0o700, path
    assert stat.S_IMODE((folder / "below/deep/object").stat().st_mode) == 0o640


def test_what_a_link_leads_to_and_what_is_above_stay_as_they_are(folder: Path) -> None:
    others = (folder.parent, folder.parent / "outside")
    before = [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in others]

    hand_over(folder, USER)

    assert [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in others] == before


def test_a_user_whom_nobody_knows_is_an_error_of_the_scenario(folder: Path) -> None:
    with pytest.raises(ScenarioError, match=r"^server\.user: no-such-user is no user of this machine$"):
        hand_over(folder, "no-such-user")
