"""The throw-away process that maps the stub and the tap before it: `python -m lab.calibration.tap_turns`.

    tap_turns STUB FOLDER TURNS

One call, C_GenerateRandom of the stub, which does nothing, directly and through the tap, in turns of the lab's own
closed loop. Which of the two goes first alternates, and both have the same mapping of the module. A line for each turn:
"<direct ns> <tapped ns>", each the mean of its calls without the longest thousandth, in which the process was not
running. The environment is the tap's.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.errors import LabFault
from lab.native import library
from lab.native.cryptoki import Cryptoki
from lab.native.loops import SESSION_OWN, Drive, Load, Work
from lab.process.own import die_with_parent, leave_no_core
from lab.record.dtypes import OPERATION
from lab.record.rowfile import read_rows

TURN_NS: Final = 3_000_000
_WARM_UP_TURNS: Final = 2
_ROWS_PER_TURN: Final = 100_000
_GIVE_UP_NS: Final = 10**10


def main(stub: Path, folder: Path, turns: int) -> int:
    direct, tapped = Cryptoki(stub), Cryptoki(library("tap"))
    tapped.initialize("os")
    session = tapped.open_session(tapped.slots()[0])
    drive = Drive(folder, 1, _ROWS_PER_TURN * 2 * (turns + _WARM_UP_TURNS), 0)
    done = []
    for turn in range(-_WARM_UP_TURNS, turns):
        for module in (direct, tapped) if turn % 2 else (tapped, direct):
            done.append((turn, module is tapped, _turn(drive, module, session)))
    file = read_rows(folder / "operations-1.rows", OPERATION)
    if file is None or file.lost:
        raise LabFault("rows were lost")
    took = file.rows["ended_ns"] - file.rows["started_ns"]
    begin, found = 0, {}
    for turn, is_tapped, many in done:
        found[turn, is_tapped] = _mean(took[begin : begin + many])
        begin += many
    for turn in range(turns):
        print(f"{found[turn, False]:.2f} {found[turn, True]:.2f}")
    return 0


def _turn(drive: Drive, module: Cryptoki, session: int) -> int:
    """How many calls it made."""
    drive.set(Work("random", module.function_list, sessions=(session,), session_use=SESSION_OWN))
    release = time.monotonic_ns()
    return drive.run(0, Load(release, 0, TURN_NS, release + _GIVE_UP_NS))


def _mean(took: NDArray[Any]) -> float:
    return float(np.sort(took)[: max(1, took.size - took.size // 1000)].mean())


if __name__ == "__main__":
    die_with_parent(os.getppid())
    leave_no_core()
    status = main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.flush()
    os._exit(status)
