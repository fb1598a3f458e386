"""`report`: the summary rebuilt from a run folder alone."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import program
from lab.commands.report import rebuild, report
from lab.errors import LabFault
from lab.record.folder import write_json
from tests.sealed_run import write_run


def test_the_summary_is_rebuilt_from_the_folder_and_written_beside_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    summary = rebuild(folder)
    assert summary["valid"], summary["invalid_because"]
    assert summary["arms"]["a"]["ok"] == 32
    assert summary["arms"]["a"]["rules"]["own-handles"]["verdict"] == "conforms"
    assert json.loads((folder / "summary.json").read_text()) == summary


def test_the_same_folder_gives_the_same_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    before = sorted(folder.iterdir())
    rebuild(folder)
    made = [folder / "summary.json", *(folder / "tables").iterdir()]
    first = [path.read_bytes() for path in made]
    rebuild(folder)
    assert [path.read_bytes() for path in made] == first
    assert sorted(folder.iterdir()) == sorted([*before, folder / "summary.json", folder / "tables"])


def test_two_reports_of_one_folder_take_turns(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", trials=1)
    rebuild(folder)
    first = (folder / "summary.json").read_bytes()
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(rebuild, folder) for _ in range(100)]
    assert [each.exception() for each in done] == [None] * 100
    assert (folder / "summary.json").read_bytes() == first


def test_who_interrupts_a_file_leaves_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, to: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_json(tmp_path / "summary.json", {})
    assert list(tmp_path.iterdir()) == []


def test_a_scenario_that_is_not_resolved_is_a_fault(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "scenario.json").write_text('{"name": "x"}')
    with pytest.raises(LabFault, match="is no resolved scenario"):
        rebuild(folder)


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "summary.json.partial").mkdir()  # in the way, also for root
    with pytest.raises(LabFault, match="cannot be written"):
        rebuild(folder)


def test_what_cannot_be_written_is_judged_and_shown_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    rebuild(folder)
    (folder / "summary.json.partial").mkdir()
    with pytest.raises(LabFault, match="cannot be written"):
        report(folder)
    said = capsys.readouterr().out
    assert "Valid: every planned operation is accounted for." in said
    assert "Not valid" not in said


LOADED = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from lab.commands.report import rebuild
rebuild(Path(sys.argv[1]))
print(sorted({"pandas", "scipy", "matplotlib"} & sys.modules.keys()))
"""


def test_a_run_with_nothing_to_test_is_judged_without_what_takes_long_to_import(tmp_path: Path) -> None:
    words = [sys.executable, "-c", LOADED, str(write_run(tmp_path / "run"))]
    done = subprocess.run(words, env=program.environment(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
