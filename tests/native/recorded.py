"""What a test reads back of the rows that the tap left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lab.record.dtypes import CALL, EMPTY, HEADER, HEADER_BYTES, MAGIC
from lab.record.names import FUNCTION_NUMBER


@dataclass(frozen=True)
class Recorded:
    """One calls-<pid>.rows: its header's figures and its rows that are not empty."""

    pid: int
    capacity: int
    lost: int
    rows: npt.NDArray[np.void]

    def of(self, function: str) -> npt.NDArray[np.void]:
        chosen: npt.NDArray[np.void] = self.rows[self.rows["function"] == FUNCTION_NUMBER[function]]
        return chosen


def read_file(path: Path) -> Recorded:
    data = path.read_bytes()
    header = np.frombuffer(data, HEADER, count=1)[0]
    assert header["magic"] == MAGIC
    written = min(int(header["claimed"]), int(header["capacity"]), (len(data) - HEADER_BYTES) // CALL.itemsize)
    rows = np.frombuffer(data, CALL, count=written, offset=HEADER_BYTES)
    return Recorded(int(header["pid"]), int(header["capacity"]), int(header["lost"]), rows[rows["state"] != EMPTY])


def read_folder(folder: Path) -> dict[int, Recorded]:
    """By pid; for programs that wrote one file per process."""
    files = [read_file(path) for path in sorted(folder.glob("calls-*.rows"))]
    assert len({file.pid for file in files}) == len(files)
    return {file.pid: file for file in files}
