"""Where the tap's files go while processes of other users write them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lab.topology.reach import rows_folder


def test_root_opens_a_private_folder_and_moves_only_files_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    trial, private, secret = tmp_path / "trial", tmp_path / "rows", tmp_path / "secret"
    trial.mkdir(mode=0o755)
    secret.write_text("not for everybody")
    with rows_folder(trial, private) as rows:
        assert rows == private
        assert stat.S_IMODE(rows.stat().st_mode) == 0o1777
        assert stat.S_IMODE(trial.stat().st_mode) == 0o755
        (rows / "calls-7.rows").write_bytes(b"rows")
        (rows / "calls-8.rows").symlink_to(secret)
        (rows / "trial.json").write_text("planted")
    assert [path.name for path in trial.iterdir()] == ["calls-7.rows"]


def test_a_user_s_own_processes_write_into_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    before = tmp_path.stat().st_mode
    with rows_folder(tmp_path, tmp_path / "rows") as rows:
        assert rows == tmp_path
        assert tmp_path.stat().st_mode == before
    assert list(tmp_path.iterdir()) == []
