"""What the loops leave when a process is killed, and what a child may not touch."""

from __future__ import annotations

import signal

from lab.record.dtypes import BEGUN, ENDED, OPERATION
from lab.record.rowfile import read_rows
from tests.native.conftest import Bench

PLAYER = """
import os, signal
from pathlib import Path
from lab.native.loops import Drive
from tests.native.playing import FakeModule, Player
folder = Path(os.environ["LAB_TAP_DIR"])
module = FakeModule(Path(os.environ["MODULE"]), folder)
"""


def test_a_signature_that_is_killed_leaves_its_row_begun(bench: Bench) -> None:
    died = bench.python(
        "if os.fork() == 0:\n"
        "    player = Player(folder, Drive(folder, 1, 1000, 64), module)\n"
        "    player.sign()\n"
        "    module.on('C_Sign', lambda: module.calls('C_Sign') == 5 and os.kill(os.getpid(), signal.SIGKILL))\n"
        "    player.open_loop([0] * 23)\n"
        "print(os.WTERMSIG(os.wait()[1]))",
        PLAYER,
    )
    assert int(died.stdout) == signal.SIGKILL
    file = read_rows(bench.folder / "operations-1.rows", OPERATION)
    assert file is not None
    assert file.rows["state"].tolist() == [ENDED] * 4 + [BEGUN]
    assert file.rows["ended_ns"][4] == 0
    assert file.rows["started_ns"][4] > 0


def test_a_child_leaves_the_rows_of_its_parent_alone(bench: Bench) -> None:
    bench.python(
        "player = Player(folder, Drive(folder, 0, 1000, 64), module)\n"
        "player.sign()\n"
        "player.open_loop([0] * 23)\n"
        "for child in 1, 2:\n"
        "    if os.fork() == 0:\n"
        "        player = Player(folder, Drive(folder, child, 1000, 64), module)\n"
        "        player.sign()\n"
        "        player.open_loop([0] * 10 * child)\n"
        "        os._exit(0)\n"
        "for _ in range(2): assert os.wait()[1] == 0\n"
        "player.open_loop([0])",
        PLAYER,
    )
    files = [read_rows(bench.folder / f"operations-{process}.rows", OPERATION) for process in range(3)]
    assert [len(file.rows) for file in files if file] == [24, 10, 20]
    tids = [set(file.rows["tid"].tolist()) for file in files if file]
    assert len(set.union(*tids)) == sum(map(len, tids))
