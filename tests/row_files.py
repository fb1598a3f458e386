"""Row files as processes leave them behind, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.record.dtypes import HEADER, HEADER_BYTES, MAGIC


def write_rows(path: Path, rows: NDArray[Any], *, pid: int, process: int, lost: int = 0) -> None:
    """A whole file of these rows; those with state 0 were never begun."""
    header = np.zeros(1, HEADER)
    header["magic"], header["row_bytes"], header["pid"], header["process"] = MAGIC, rows.itemsize, pid, process
    header["capacity"] = header["allocated"] = header["claimed"] = len(rows)
    header["lost"] = lost
    path.write_bytes(header.tobytes().ljust(HEADER_BYTES, b"\0") + rows.tobytes())


def rows(dtype: np.dtype[np.void], **columns: list[int]) -> NDArray[Any]:
    """Rows of these columns; all else is 0."""
    made = np.zeros(max(map(len, columns.values())), dtype)
    for name, values in columns.items():
        made[name] = values
    return made
