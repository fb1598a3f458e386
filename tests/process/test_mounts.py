"""Private mounts: seen by those that have them, and by nobody else. Needs root, as the kernel does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.errors import LabFault
from lab.process.mounts import TMPFS, MountsRefused, enter

INSIDE = """
import json, os, subprocess, sys
from lab.process.mounts import enter
enter([(sys.argv[1], sys.argv[2])])
child = subprocess.run(["ls", sys.argv[2]], capture_output=True, text=True, check=True).stdout.split()
print(json.dumps({"own": os.listdir(sys.argv[2]), "child": child, "ipc": os.readlink("/proc/self/ns/ipc")}))
"""


def test_a_source_lies_over_its_target_for_the_process_and_its_children_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder, name in ((source, "of-the-lab"), (target, "of-the-system")):
        folder.mkdir()
        (folder / name).touch()
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, str(source), str(target)], capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert seen["own"] == seen["child"] == ["of-the-lab"]
    assert seen["ipc"] != str(Path("/proc/self/ns/ipc").readlink())
    assert [path.name for path in target.iterdir()] == ["of-the-system"]
    assert str(target) not in Path("/proc/self/mounts").read_text()


def test_a_target_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    code = "import sys; from lab.process.mounts import enter; enter([(sys.argv[1], sys.argv[2])])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(missing)], capture_output=True, text=True, check=False
    )
    assert f"mounting {tmp_path} over {missing} is refused: No such file or directory" in done.stderr


def test_a_file_lies_over_a_file_and_memory_over_a_folder(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/of-the-system").touch()
    code = """
import os, sys
from lab.process.mounts import TMPFS, enter
os.chdir(sys.argv[1])
enter([("ours", "theirs"), (TMPFS, "folder")])
seen = [open("theirs").read(), *os.listdir("folder"), oct(os.stat("folder").st_mode)]
open("folder/own", "w").close()
print(*seen)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "ours 0o41777\n"
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["of-the-system"]


@pytest.mark.parametrize("needed", ["source", "folder"])
def test_what_would_be_out_of_sight_is_named_before_anything_is_mounted(needed: str, tmp_path: Path) -> None:
    hidden, source = tmp_path / "hidden", tmp_path / "source"
    hidden.mkdir()
    source.mkdir()
    inside = hidden / needed
    mounts = [(TMPFS, str(hidden)), (str(inside if needed == "source" else source), "/nowhere")]
    with pytest.raises(MountsRefused, match=f"^{inside} lies in {hidden}, .*--out, and TMPDIR"):
        enter(mounts, [str(inside)] if needed == "folder" else [])


def test_without_mounts_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: None, use_errno: bool) -> None:
        raise LabFault("the kernel was asked")

    monkeypatch.setattr("lab.process.mounts.ctypes.CDLL", no_library)
    enter(())
