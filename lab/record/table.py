"""A Parquet file as a Table that loads only what is asked for: one column, or the rows of one process.

Rows are decoded one row group at a time and the latest group is kept, so that cutting a file into consecutive parts
decodes each group once and holds no more than one group besides the part itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lab.errors import LabFault


class ParquetTable(Mapping[str, NDArray[Any]]):
    """The columns of a file, each of the dtype that it must have. Use open()."""

    def __init__(self, path: Path, file: Any, columns: Mapping[str, np.dtype[Any]], absent: frozenset[str]) -> None:
        self._path = path
        self._file = file
        self._columns = columns
        self._absent = absent
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self._edges = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._latest: tuple[int, dict[str, NDArray[Any]]] | None = None

    @staticmethod
    def open(path: Path, columns: Mapping[str, Any], younger: Collection[str] = ()) -> ParquetTable:
        """`columns` maps names to numpy dtypes. Those in `younger` are zeros where an earlier version wrote the file.

        Raises LabFault where the file is missing, is no Parquet file, or lacks a column.
        """
        try:
            # bytes: pyarrow takes text for UTF-8; not mapped: mapped pages would count as memory, and a cut file
            # would be a SIGBUS
            file = pq.ParquetFile(pa.OSFile(os.fsencode(path)))
        except FileNotFoundError:
            raise LabFault(f"{path}: is missing") from None
        except (OSError, pa.ArrowException) as problem:
            raise LabFault(f"{path}: is not a readable Parquet file ({str(problem).splitlines()[0]})") from None
        absent = [name for name in columns if name not in file.schema_arrow.names]
        missing = [name for name in absent if name not in younger]
        if missing:
            raise LabFault(f"{path}: has no column {', '.join(missing)}")
        for name in columns.keys() - set(absent):
            if not pa.types.is_integer(kept := file.schema_arrow.field(name).type):
                raise LabFault(f"{path}: column {name} holds {kept}, not whole numbers")
        return ParquetTable(path, file, columns, frozenset(absent))

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            raise KeyError(name)
        if name in self._absent:
            return np.zeros(self.rows, self._columns[name])
        return self._array(self._read(lambda: self._file.read(columns=[name])).column(0), name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def rows(self) -> int:
        return int(self._edges[-1])

    def cut(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Rows start to stop - 1, all columns."""
        first = int(np.searchsorted(self._edges, start, side="right")) - 1
        last = int(np.searchsorted(self._edges, stop, side="left")) - 1
        if first >= last:
            begin = int(self._edges[first])
            return {name: column[start - begin : stop - begin] for name, column in self._group(first).items()}
        whole = {name: np.empty(stop - start, dtype) for name, dtype in self._columns.items()}
        for group in range(first, last + 1):
            begin, end = int(self._edges[group]), int(self._edges[group + 1])
            low, high = max(start, begin), min(stop, end)
            for name, column in self._group(group).items():
                whole[name][low - start : high - start] = column[low - begin : high - begin]
        return whole

    def _group(self, group: int) -> dict[str, NDArray[Any]]:
        if self._latest is None or self._latest[0] != group:
            self._latest = None  # before the next is decoded: never two at once
            present = [name for name in self._columns if name not in self._absent]
            table = self._read(lambda: self._file.read_row_group(group, columns=present))
            found = {name: self._array(table.column(name), name) for name in present}
            found |= {name: np.zeros(len(table), self._columns[name]) for name in self._absent}
            self._latest = (group, found)
        return self._latest[1]

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, pa.ArrowException) as problem:  # its footer was whole, and what lies before it is not
            because = str(problem).splitlines()[0]
            raise LabFault(f"{self._path}: is damaged, its rows cannot be decoded ({because})") from None

    def _array(self, column: Any, name: str) -> NDArray[Any]:
        if column.null_count:
            raise LabFault(f"{self._path}: column {name} has missing values")
        found, dtype = integers(column), self._columns[name]
        if found.dtype != dtype and found.size:
            limits = np.iinfo(dtype)
            if int(found.min()) < limits.min or int(found.max()) > limits.max:
                raise LabFault(f"{self._path}: column {name} has values outside {limits.min} to {limits.max}")
        return found.astype(dtype, copy=False)


def integers(column: Any) -> NDArray[Any]:
    """A pyarrow ChunkedArray without missing values as an array of its own dtype.

    Integers are taken from their buffers: to_numpy() imports pandas where that is installed, which is half a second.
    """
    if not pa.types.is_integer(column.type):
        found: NDArray[Any] = column.to_numpy()
        return found
    dtype = np.dtype(column.type.to_pandas_dtype())  # numpy's, whatever its name says
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, dtype)
