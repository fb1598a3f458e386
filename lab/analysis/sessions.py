"""Sessions of one process over time: opened, closed, leaked, and how many were open at once.

A process's sessions are those that it opened itself: what a forked child inherited is its parent's, and closing such a
handle in the child closes none of the child's. C_Finalize and C_CloseAllSessions close all that the process has open
(a trial has one token, so one slot). A session that is open when its process ends, or crashes, is leaked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Handles = NDArray[np.uint64]

SERIES_POINTS: Final = 500  # a series with more changes keeps the highest count of each of this many stretches


@dataclass(frozen=True)
class SessionHistory:
    """Changes of one process's number of open sessions, ascending in time."""

    at_ns: Times
    change: NDArray[np.int64]
    opened: int
    closed: int
    leaked_row: int | None  # place, among the openings that were passed, of the first session that was never closed

    @property
    def leaked(self) -> int:
        return self.opened - self.closed

    @property
    def peak(self) -> int:
        return peak(self.at_ns, self.change)

    def series(self) -> tuple[Times, NDArray[np.int32]]:
        """When the number changed, in ns, and the number from then on: at most SERIES_POINTS points and the last."""
        level = np.cumsum(self.change)
        if level.size <= SERIES_POINTS:
            return self.at_ns, level.astype(np.int32)
        edges = np.linspace(0, level.size, SERIES_POINTS, endpoint=False).astype(np.intp)
        highest = [int(a + np.argmax(level[a:b])) for a, b in zip(edges, [*edges[1:], level.size], strict=True)]
        kept = np.unique([*highest, level.size - 1])
        return self.at_ns[kept], level[kept].astype(np.int32)


def history(
    opened_ns: Times, opened: Handles, closed_ns: Times, closed: Handles, all_closed_ns: Times
) -> SessionHistory:
    """From successful calls of one process: each opening and closing (time, handle), and each close-all (time)."""
    order = np.argsort(opened_ns, kind="stable")
    edges = np.sort(all_closed_ns)
    opens_until = np.searchsorted(opened_ns[order], edges)
    closed_order = np.argsort(closed_ns, kind="stable")
    closes_until = np.searchsorted(closed_ns[closed_order], edges)
    times: list[Times] = []
    changes: list[NDArray[np.int64]] = []
    count = leaked = 0
    leaked_row: int | None = None
    open_from = close_from = 0
    for edge in range(edges.size + 1):
        last = edge == edges.size
        open_to = opened_ns.size if last else int(opens_until[edge])
        close_to = closed_ns.size if last else int(closes_until[edge])
        mine = order[open_from:open_to]
        theirs = closed_order[close_from:close_to]
        own = theirs[np.isin(closed[theirs], opened[mine])] if theirs.size and mine.size else theirs[:0]
        times += [opened_ns[mine], closed_ns[own]]
        changes += [np.ones(mine.size, np.int64), np.full(own.size, -1, np.int64)]
        still_open = mine.size - own.size
        if not last and still_open:
            times.append(edges[edge : edge + 1])
            changes.append(np.array([-still_open], np.int64))
        if last:
            leaked = still_open
            if leaked:
                never = mine[~np.isin(opened[mine], closed[own])]
                leaked_row = int(never[0] if never.size else mine[-1])
        count += mine.size
        open_from, close_from = open_to, close_to
    at_ns, change = in_order(times, changes)
    return SessionHistory(at_ns, change, opened=count, closed=count - leaked, leaked_row=leaked_row)


def in_order(times: list[Times], changes: list[NDArray[np.int64]]) -> tuple[Times, NDArray[np.int64]]:
    """All changes of all parts, ascending in time; a closing comes before an opening of the same nanosecond."""
    if not times:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    at_ns: Any = np.concatenate(times)
    change = np.concatenate(changes)
    order = np.lexsort((change, at_ns)) if at_ns.size < 100_000 else np.argsort(at_ns, kind="stable")
    return at_ns[order], change[order]


def peak(at_ns: Times, change: NDArray[np.int64]) -> int:
    """The largest number open at once."""
    return max(0, int(np.cumsum(change).max())) if at_ns.size else 0
