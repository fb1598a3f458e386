"""Processes: every one writes its own file, whatever its parent was doing when it was forked."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest

from lab.record.dtypes import BEGUN, ENDED
from tests.native.conftest import Bench
from tests.native.recorded import read_folder

FORKS = 50


def calls_by_pid(done: subprocess.CompletedProcess[str]) -> dict[int, int]:
    assert done.returncode == 0, done.stderr
    return {int(pid): int(calls) for pid, calls in re.findall(r"^(\d+) (\d+)$", done.stdout, re.MULTILINE)}


def assert_every_call_is_in_the_file_of_its_process(bench: Bench, calls: dict[int, int]) -> None:
    recorded = read_folder(bench.folder)
    assert {pid: len(file.rows) for pid, file in recorded.items()} == calls
    for pid, file in recorded.items():
        assert set(file.rows["pid"]) == {pid}
        assert set(file.rows["state"]) == {ENDED}
        assert file.lost == 0


@pytest.mark.parametrize(
    ("mode", "processes"),
    [
        ("threads", 1),
        ("prefork", 5),
        ("nested", 3),
        ("fork-busy", FORKS + 1),
        ("fork-inside", 2),
        ("loading-race", 1),
        ("fork-while-loading", 2),
    ],
)
def test_every_call_of_every_process_is_counted_once(bench: Bench, mode: str, processes: int) -> None:
    calls = calls_by_pid(bench.stress(mode))
    assert len(calls) == processes
    assert_every_call_is_in_the_file_of_its_process(bench, calls)


def test_threads_have_their_own_kernel_ids_in_a_forked_child_too(bench: Bench) -> None:
    calls_by_pid(bench.stress("prefork", threads=3))
    for pid, file in read_folder(bench.folder).items():
        tids = set(file.rows["tid"])
        root = bool(file.of("C_Initialize").size)
        assert len(tids) == 3 + root  # the workers, and the main thread where it called C_Initialize
        assert (pid in tids) == root


def test_a_forked_child_is_not_taken_for_its_parents_thread(bench: Bench) -> None:
    calls_by_pid(bench.stress("nested"))
    for pid, file in read_folder(bench.folder).items():
        assert set(file.rows["tid"]) == {pid}


def test_the_childs_return_from_a_call_that_its_parent_entered_writes_no_row(bench: Bench) -> None:
    calls_by_pid(bench.stress("fork-inside"))
    parent, child = sorted(read_folder(bench.folder).values(), key=lambda file: file.rows["started_ns"][0])
    assert [len(parent.of("C_Sign")), len(child.of("C_Sign"))] == [3, 3]
    assert child.rows["started_ns"][0] > parent.of("C_Sign")["started_ns"][1]


def test_a_kill_in_the_middle_of_a_call_leaves_its_row_begun(bench: Bench) -> None:
    done = bench.stress("kill-inside")
    assert done.returncode == -signal.SIGKILL
    (file,) = read_folder(bench.folder).values()
    first, last = file.of("C_Sign")
    assert (first["state"], last["state"]) == (ENDED, BEGUN)
    assert last["started_ns"] > 0
    assert last["ended_ns"] == 0
    assert last["session"] == 1
    assert len(file.rows) == 4


def test_a_process_image_that_was_execed_opens_a_second_file_for_its_pid(bench: Bench) -> None:
    bench.python(
        "tap.call_once('C_GetInfo')\n"
        "code = 'import os\\nfrom tests.native.caller import *\\n"
        'Module(os.environ["TAP"]).call_once("C_Finalize")\'\n'
        "os.execv(sys.executable, [sys.executable, '-c', code])"
    )
    first, second = sorted(bench.folder.glob("calls-*.rows"), key=lambda path: len(path.name))
    assert second.name == first.name.replace(".rows", "-2.rows")


def test_unloading_the_tap_unloads_the_module_and_200_rounds_of_it_work(bench: Bench) -> None:
    (calls,) = calls_by_pid(bench.stress("reload", calls=200)).values()
    assert calls == 400
    assert len(list(bench.folder.glob("calls-*.rows"))) == 200
