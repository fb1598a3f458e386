"""Reading the row files that processes leave behind, whole or cut off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.record.dtypes import CONNECTION, EMPTY, HEADER, HEADER_BYTES, MAGIC


@dataclass(frozen=True)
class RowFile:
    """One file: rows is a structured array of the given dtype, mapped, without those that were never begun."""

    pid: int
    process: int
    row_bytes: int
    lost: int
    rows: NDArray[Any]
    places: NDArray[np.int64]  # index of each row in the file, which is also its place in the file of outputs
    parent: int = 0  # of calls: pid of the parent when the first call was made
    program: str = ""  # of calls: name of the program's file, "" where it is not known


def read_header(path: Path) -> Any | None:
    """The header; None where the process died before it was whole."""
    with path.open("rb") as file:
        raw = file.read(HEADER.itemsize)
    if len(raw) < HEADER.itemsize or raw[: len(MAGIC)] != MAGIC:
        return None
    return np.frombuffer(raw, HEADER)[0]


def read_rows(path: Path, dtype: np.dtype[np.void]) -> RowFile | None:
    """The rows of a file; None where it has no whole header.

    Disk blocks allocated ahead are not rows, and neither is one that was claimed and never begun: its process died in
    between, before there was anything to record.
    """
    header = read_header(path)
    if header is None:
        return None
    on_disk = (path.stat().st_size - HEADER_BYTES) // dtype.itemsize
    count = int(min(header["claimed"], header["capacity"], on_disk))
    rows: NDArray[Any] = np.memmap(path, dtype, "r", HEADER_BYTES, (count,)) if count else np.empty(0, dtype)
    begun = rows["state"] != EMPTY
    places = np.flatnonzero(begun) if not begun.all() else np.arange(count)
    return RowFile(
        int(header["pid"]),
        int(header["process"]),
        int(header["row_bytes"]),
        int(header["lost"]),
        rows if len(places) == count else rows[places],
        places,
        int(header["parent"]),
        header["program"].decode(errors="replace"),
    )


def lost_outputs(path: Path) -> int:
    """How many outputs had no room on the disk."""
    header = read_header(path) if path.exists() else None
    return 0 if header is None else int(header["lost"])


def read_outputs(path: Path) -> NDArray[np.uint8] | None:
    """The outputs, one row each, by the place of their operation; None where none were kept."""
    header = read_header(path) if path.exists() else None
    if header is None:
        return None
    width = int(header["row_bytes"])
    rows = int(min(header["capacity"], (path.stat().st_size - HEADER_BYTES) // width))
    return np.memmap(path, np.uint8, "r", HEADER_BYTES, (rows, width)) if rows else np.empty((0, width), np.uint8)


def write_connections(folder: Path, process: int, pid: int, rows: NDArray[Any]) -> None:
    """Writes `connections-<process>.rows` of a server that is no part of the lab, as one of the lab's would have."""
    header = np.zeros(1, HEADER)
    header["magic"], header["row_bytes"], header["pid"], header["process"] = MAGIC, CONNECTION.itemsize, pid, process
    header["capacity"] = header["claimed"] = header["allocated"] = len(rows)
    path = folder / f"connections-{process}.rows"
    path.write_bytes(header.tobytes().ljust(HEADER_BYTES, b"\0") + rows.astype(CONNECTION).tobytes())
