"""What goes wrong around the tap: calls are forwarded all the same, and stderr has one line that says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.record.dtypes import HEADER_BYTES
from tests.native.conftest import Bench
from tests.native.recorded import read_folder

CKR_GENERAL_ERROR = 5
MIB = 1 << 20
FIRST_STEP = 256 << 10  # ROWS_STEP_BYTES of rows.h: what a new file is given


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"LAB_TAP_MODULE": "/does/not/exist.so"}, "cannot load the real module"),
        ({"LAB_TAP_DIR": "/does/not/exist"}, "LAB_TAP_DIR cannot be used: /does/not/exist"),
        ({"LAB_TAP_KEY": "short"}, "LAB_TAP_KEY is not 32 hexadecimal digits"),
        ({"LAB_TAP_KEY": "0" * 33}, "LAB_TAP_KEY is not 32 hexadecimal digits"),
        ({"LAB_TAP_LOCKING": "perhaps"}, "LAB_TAP_LOCKING is neither os nor none: perhaps"),
        ({"LAB_TAP_SESSIONS": "perhaps"}, "LAB_TAP_SESSIONS is not read-write: perhaps"),
        ({"LAB_TAP_ROWS": "many"}, "LAB_TAP_ROWS is not a number of rows: many"),
        ({"LAB_TAP_ROWS": "0"}, "LAB_TAP_ROWS is not a number of rows: 0"),
        ({"LAB_TAP_ROWS": "-1"}, "LAB_TAP_ROWS is not a number of rows: -1"),
    ],
)
def test_an_unusable_tap_gives_no_list_and_says_why_in_one_line(
    bench: Bench, environment: dict[str, str], line: str
) -> None:
    script = "print(tap.answer, tap.loaded.C_Initialize(None), tap.loaded.C_Sign(1, None, 0, None, None))"
    done = bench.python(script, **environment)
    assert done.stdout.split() == [str(CKR_GENERAL_ERROR)] * 3
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"lab tap: {line}")
    assert "short" not in done.stderr


@pytest.mark.parametrize("missing", ["LAB_TAP_MODULE", "LAB_TAP_DIR"])
def test_without_a_module_or_a_folder_the_tap_is_unusable(bench: Bench, missing: str) -> None:
    done = bench.python("print(tap.answer)", **{missing: None})
    assert done.stdout.split() == [str(CKR_GENERAL_ERROR)]
    assert done.stderr.startswith(f"lab tap: {missing} names no ")


def test_a_tap_that_is_told_to_forward_to_itself_is_unusable(bench: Bench) -> None:
    done = bench.python("print(tap.answer)", LAB_TAP_MODULE=str(bench.tap))
    assert done.stdout.split() == [str(CKR_GENERAL_ERROR)]
    assert "the real module gives no function list" in done.stderr


def test_rows_beyond_the_capacity_are_counted_as_lost_and_their_calls_forwarded(bench: Bench) -> None:
    done = bench.python(
        "for _ in range(10): assert tap.call_once('C_GetInfo').ckr == 0\nprint(fake.calls('C_GetInfo'))",
        LAB_TAP_ROWS="4",
    )
    (file,) = read_folder(bench.folder).values()
    assert done.stdout.split() == ["10"]
    assert (len(file.rows), file.lost, file.capacity) == (4, 6, 4)
    assert done.stderr == "lab tap: calls of this process are lost: no room for rows\n"


LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
info = ctypes.create_string_buffer(4096)
for _ in range({calls}): assert tap.call('C_GetInfo', info) == 0
print(fake.calls('C_GetInfo'))
"""


def test_a_disk_that_fills_up_loses_rows_and_no_call(bench: Bench) -> None:
    fit = (MIB - HEADER_BYTES) // 64
    done = bench.python(LIMITED.format(limit=MIB, calls=fit + 100))
    (file,) = read_folder(bench.folder).values()
    assert done.stdout.split() == [str(fit + 100)]
    assert (len(file.rows), file.lost) == (fit, 100)
    assert done.stderr.count("\n") == 1


def test_a_disk_that_is_full_from_the_start_loses_no_call(bench: Bench) -> None:
    done = bench.python(LIMITED.format(limit=100, calls=10))
    assert done.stdout.split() == ["10"]
    assert done.stderr == "lab tap: calls of this process are not recorded: File too large\n"


def test_a_folder_that_is_gone_loses_no_call_and_each_process_says_so_once(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "goes"
    folder.mkdir()
    done = bench.python(
        f"os.rmdir({str(folder)!r})\n"
        "for _ in range(5): assert tap.call_once('C_GetInfo').ckr == 0\n"
        "if os.fork() == 0:\n"
        "    for _ in range(5): assert tap.call_once('C_GetInfo').ckr == 0\n"
        "    os._exit(0)\n"
        "assert os.wait()[1] == 0",
        LAB_TAP_DIR=str(folder),
    )
    line = "lab tap: calls of this process are not recorded: No such file or directory\n"
    assert done.stderr == 2 * line


def test_rows_never_land_in_a_file_that_took_over_our_descriptors_number(bench: Bench, tmp_path: Path) -> None:
    fit = (FIRST_STEP - HEADER_BYTES) // 64
    mine = tmp_path / "mine"
    done = bench.python(
        "info = ctypes.create_string_buffer(4096)\n"
        "tap.call('C_GetInfo', info)\n"
        "os.closerange(3, 100)\n"
        f"for _ in range(20): os.open({str(mine)!r}, os.O_RDWR | os.O_CREAT)\n"
        f"for _ in range({fit + 9}): assert tap.call('C_GetInfo', info) == 0\n"
    )
    (file,) = read_folder(bench.folder).values()
    assert mine.stat().st_size == 0
    assert (len(file.rows), file.lost) == (fit, 10)
    assert done.stderr.count("\n") == 1


def test_a_relative_folder_stays_the_same_when_the_program_changes_its_own(bench: Bench) -> None:
    relative = os.path.relpath(bench.folder)
    bench.python("os.chdir('/')\ntap.call_once('C_GetInfo')", LAB_TAP_DIR=relative)
    assert len(read_folder(bench.folder)) == 1
