"""Rows of one process at a time, so that a trial of any size is examined in the memory of its largest process.

Rows are grouped by process (lab.record.columns). A table that can cut rows out of itself more cheaply than by loading
all of its columns has a method `cut`; a plain mapping of arrays is sliced.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lab.record.columns import Table


@runtime_checkable
class Cuttable(Protocol):
    """A table that loads only the rows that are asked for."""

    def cut(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Rows start to stop - 1, all columns."""
        ...


def places(table: Table) -> dict[int, tuple[int, int]]:
    """For each process, its first row and the one after its last, in the table's order.

    Raises ValueError where one process's rows are not together.
    """
    process = table["process"]
    if not process.size:
        return {}
    edges = [0, *(np.flatnonzero(process[1:] != process[:-1]) + 1).tolist(), process.size]
    owners = [int(process[start]) for start in edges[:-1]]
    if len(set(owners)) != len(owners):
        raise ValueError("the rows of one process are not together")
    return dict(zip(owners, pairwise(edges), strict=True))


def by_process(table: Table) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Each process's index and its rows, in the table's order; the dict is the taker's own, to change.

    Raises ValueError where one process's rows are not together.
    """
    for owner, (start, stop) in places(table).items():
        yield owner, rows(table, start, stop)


def rows(table: Table, start: int, stop: int) -> dict[str, NDArray[Any]]:
    """Rows start to stop - 1 of a table."""
    if isinstance(table, Cuttable):
        return table.cut(start, stop)
    return {name: column[start:stop] for name, column in table.items()}
