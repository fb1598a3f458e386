"""What a reload, a limit of connections per child and a killed worker do: population, sessions, handshakes over time.

A real server's processes are known by when they were first seen and when they had gone (ProcessRecord.born_ns and
gone_ns), which is as exact as somebody looked. Sessions of a process that has gone are closed, whether it closed them
or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis import segments
from lab.analysis.sessions import SessionHistory, in_order
from lab.analysis.uses import ProcessUse
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import KIND, SIDE
from lab.record.model import ProcessRecord, TrialRecord

Times = NDArray[np.int64]
Level = tuple[Times, NDArray[np.int64]]
"""When a number changed, ns ascending, and the number from then on."""

_POINTS: Final = 2_000  # a level with more changes keeps the highest of each of so many stretches
_KILL_WINDOW_NS: Final = 1_000_000_000  # what failed so long after a kill was its doing, where nobody took the place


@dataclass(frozen=True)
class Served:
    """What one server process served. The first handshake that ended well: accept and end, None where none did."""

    first_opened_ns: int
    first: tuple[int, int] | None
    well: int
    failed: int


@dataclass(frozen=True)
class Asked:
    """The handshakes of all clients, ascending in start; those that never ended did so at the end of time."""

    started_ns: Times
    ended_ns: Times
    failed: NDArray[np.bool_]

    @staticmethod
    def of(parts: Sequence[Asked]) -> Asked:
        if not parts:
            return Asked(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))
        started = np.concatenate([part.started_ns for part in parts])
        order = np.argsort(started, kind="stable")
        return Asked(
            started[order],
            np.concatenate([part.ended_ns for part in parts])[order],
            np.concatenate([part.failed for part in parts])[order],
        )


@dataclass(frozen=True)
class Child:
    """A worker that was born during the load. Times in ms, None where it never came so far."""

    process: int
    born_ns: int
    after_reload_ms: float | None  # from the reload to its first handshake; None without a reload before its birth
    to_first_handshake_ms: float | None  # from its birth to the end of its first handshake
    first_handshake_ms: float | None  # from accept to end
    cold_start_ms: float | None  # from its C_Initialize to the end of its first operation with the key


@dataclass(frozen=True)
class Restart:
    """Workers that came and went. Counts of handshakes are (ended well, failed); None: not known."""

    reload_ms: float | None  # after the release; None: there was no reload, children ended by themselves
    workers_before: int | None
    workers_peak: int
    workers_least: int | None  # after the reload, until it was settled
    none_ms: float | None  # how long, in that time, there was no worker at all
    left: int  # workers of before that left during the load
    stayed: int
    leave_ms: tuple[float, ...]  # after the reload, of those that left
    settled_ms: float | None  # after the reload: the last of the old had left, and as many new ones had served
    sessions_before: int | None
    sessions_peak: int
    before: tuple[int, int]
    within: tuple[int, int]
    after: tuple[int, int]
    children: tuple[Child, ...]


@dataclass(frozen=True)
class Kill:
    """A killed worker. replaced_ms: until the end of the first handshake of the worker born next."""

    killed: int | None
    born_ms: float | None
    replaced_ms: float | None
    failed: int  # handshakes that were under way or begun between the kill and that handshake, and failed


@dataclass(frozen=True)
class OverTime:
    """For the picture. Times in ns from the release."""

    until_ns: int
    reload_ns: int | None
    kill_ns: int | None
    workers: Level
    sessions: Level
    failed_ns: Times = field(default_factory=lambda: np.empty(0, np.int64))


def served(connections: Table) -> dict[int, Served]:
    """What each process served, from the whole table of connections."""
    found = {}
    for process, rows in segments.by_process(connections):
        mine = rows["side"] == SIDE["server"]
        if not mine.any():
            continue
        opened, ended, outcome = (rows[name][mine] for name in ("opened_ns", "ended_ns", "outcome"))
        well = np.flatnonzero((outcome == columns.OK) & (ended != 0))
        first = int(well[np.argmin(opened[well])]) if well.size else None
        found[process] = Served(
            first_opened_ns=int(opened.min()),
            first=None if first is None else (int(opened[first]), int(ended[first])),
            well=int(well.size),
            failed=int(np.count_nonzero(outcome == columns.FAIL)),
        )
    return found


def asked(operations: Table) -> Asked:
    """The handshakes of one generator."""
    mine = operations["kind"] == KIND["handshake"]
    outcome, ended = operations["outcome"][mine], operations["ended_ns"][mine]
    return Asked(
        started_ns=operations["started_ns"][mine].astype(np.int64),
        ended_ns=np.where(ended == 0, np.iinfo(np.int64).max, ended).astype(np.int64),
        failed=outcome != columns.OK,
    )


class Restarts:
    """One trial's. histories: sessions of each process."""

    def __init__(
        self,
        record: TrialRecord,
        uses: Mapping[int, ProcessUse],
        served: Mapping[int, Served],
        asked: Asked,
        histories: Mapping[int, SessionHistory],
    ) -> None:
        self._record, self._uses, self._served, self._asked = record, uses, served, asked
        self._start_ns = record.released_ns or 0
        self._until_ns = self._start_ns + record.warmup_ns + record.duration_ns
        self._workers = [p for p in record.processes if p.role == "worker" and p.born_ns is not None]
        self.workers = _level([_life(process) for process in self._workers])
        tree = {p.index: p for p in record.processes if p.role in ("master", "worker")}
        self.sessions = _sessions({i: h for i, h in histories.items() if i in tree}, tree)

    def restart(self) -> Restart | None:
        """None where there was no reload, and no worker came and none went during the load."""
        reload_ns = self._record.server.reload_ns if self._record.server else None
        kill_ns = self._record.server.kill_ns if self._record.server else None
        born = [p for p in self._workers if (p.born_ns or 0) > max(self._start_ns, reload_ns or 0)]
        gone = [p for p in self._workers if p.gone_ns is not None and p.gone_ns < self._until_ns]
        if reload_ns is None and (not gone or not born or kill_ns is not None):
            return None
        at_ns = self._start_ns if reload_ns is None else reload_ns
        old = [p for p in self._workers if (p.born_ns or 0) <= at_ns and (p.gone_ns is None or p.gone_ns > at_ns)]
        left = [p for p in old if p.gone_ns is not None and p.gone_ns < self._until_ns]
        children = tuple(self._child(process, reload_ns) for process in born)
        settled_ns = self._settled(left, born, len(old)) if reload_ns is not None else None
        edge_ns = self._until_ns if settled_ns is None else settled_ns
        return Restart(
            reload_ms=None if reload_ns is None else (reload_ns - self._start_ns) / 1e6,
            workers_before=_at(self.workers, at_ns) if self._workers else None,
            workers_peak=_highest(self.workers, at_ns, edge_ns),
            workers_least=_lowest(self.workers, at_ns, edge_ns) if reload_ns is not None else None,
            none_ms=_none_ns(self.workers, at_ns, edge_ns) / 1e6 if reload_ns is not None and self._workers else None,
            left=len(left),
            stayed=len(old) - len(left),
            leave_ms=tuple(((p.gone_ns or 0) - at_ns) / 1e6 for p in left) if reload_ns is not None else (),
            settled_ms=None if settled_ns is None else (settled_ns - at_ns) / 1e6,
            sessions_before=_highest(self.sessions, self._start_ns, at_ns) if reload_ns is not None else None,
            sessions_peak=_highest(self.sessions, at_ns, edge_ns),
            before=self._counted(None, at_ns),
            within=self._counted(at_ns, edge_ns),
            after=self._counted(edge_ns, None),
            children=children,
        )

    def kill(self) -> Kill | None:
        """None where none was killed."""
        server = self._record.server
        if server is None or server.kill_ns is None:
            return None
        at_ns = server.kill_ns
        born = sorted((p for p in self._workers if (p.born_ns or 0) > at_ns), key=lambda p: p.born_ns or 0)
        first = next((process for process in born if self._first(process) is not None), None)
        replaced = self._first(first) if first else None
        end_ns = replaced[1] if replaced else at_ns + _KILL_WINDOW_NS
        hit = (self._asked.started_ns <= end_ns) & (self._asked.ended_ns >= at_ns) & self._asked.failed
        return Kill(
            killed=server.killed,
            born_ms=((born[0].born_ns or 0) - at_ns) / 1e6 if born else None,
            replaced_ms=None if replaced is None else (replaced[1] - at_ns) / 1e6,
            failed=int(np.count_nonzero(hit)),
        )

    def over_time(self) -> OverTime:
        """From a little before the release to the end of the load, or the last failure."""
        server = self._record.server
        failed = self._asked.started_ns[self._asked.failed] - self._start_ns
        return OverTime(
            until_ns=self._until_ns - self._start_ns,
            reload_ns=server.reload_ns - self._start_ns if server and server.reload_ns is not None else None,
            kill_ns=server.kill_ns - self._start_ns if server and server.kill_ns is not None else None,
            workers=_thinned(self.workers, self._start_ns),
            sessions=_thinned(self.sessions, self._start_ns),
            failed_ns=failed,
        )

    def _child(self, process: ProcessRecord, reload_ns: int | None) -> Child:
        first, use, born_ns = self._first(process), self._uses.get(process.index), process.born_ns or 0
        cold = None
        if use and use.initialised_ns and use.first_key_ns is not None and use.first_key_ns >= use.initialised_ns[0]:
            cold = (use.first_key_ns - use.initialised_ns[0]) / 1e6
        return Child(
            process=process.index,
            born_ns=born_ns - self._start_ns,
            after_reload_ms=(first[1] - reload_ns) / 1e6 if first and reload_ns is not None else None,
            to_first_handshake_ms=(first[1] - born_ns) / 1e6 if first else None,
            first_handshake_ms=(first[1] - first[0]) / 1e6 if first else None,
            cold_start_ms=cold,
        )

    def _first(self, process: ProcessRecord) -> tuple[int, int] | None:
        found = self._served.get(process.index)
        return found.first if found else None

    def _settled(self, left: Sequence[ProcessRecord], born: Sequence[ProcessRecord], usual: int) -> int | None:
        """When the last of the old had left, and as many new ones as there were old had served; None where not all of
        the old left, or fewer served."""
        firsts = sorted(first[1] for process in born if (first := self._first(process)) is not None)
        if not usual or len(left) < usual or len(firsts) < usual:
            return None
        return max([process.gone_ns for process in left if process.gone_ns is not None] + [firsts[usual - 1]])

    def _counted(self, since_ns: int | None, until_ns: int | None) -> tuple[int, int]:
        """Handshakes that were begun then: ended well, failed."""
        started = self._asked.started_ns
        first = 0 if since_ns is None else int(np.searchsorted(started, since_ns))
        last = started.size if until_ns is None else max(first, int(np.searchsorted(started, until_ns)))
        failed = int(np.count_nonzero(self._asked.failed[first:last]))
        return last - first - failed, failed


def _life(process: ProcessRecord) -> tuple[int, int | None]:
    return process.born_ns or 0, process.gone_ns


def _level(lives: Sequence[tuple[int, int | None]]) -> Level:
    """How many live, from birth and end of each."""
    births = np.array([born for born, _ in lives], np.int64)
    ends = np.array([gone for _, gone in lives if gone is not None], np.int64)
    at_ns, change = in_order([births, ends], [np.ones(births.size, np.int64), np.full(ends.size, -1, np.int64)])
    return at_ns, np.cumsum(change)


def _sessions(histories: Mapping[int, SessionHistory], tree: Mapping[int, ProcessRecord]) -> Level:
    """All sessions of the server's living processes."""
    times: list[Times] = []
    changes: list[NDArray[np.int64]] = []
    for index, history in histories.items():
        times.append(history.at_ns)
        changes.append(history.change)
        gone_ns = tree[index].gone_ns
        if gone_ns is not None and history.leaked and history.at_ns.size:
            times.append(np.array([max(gone_ns, int(history.at_ns[-1]))], np.int64))
            changes.append(np.array([-history.leaked], np.int64))
    at_ns, change = in_order(times, changes)
    return at_ns, np.cumsum(change)


def _at(level: Level, at_ns: int) -> int:
    place = int(np.searchsorted(level[0], at_ns, "right"))
    return int(level[1][place - 1]) if place else 0


def _highest(level: Level, since_ns: int, until_ns: int) -> int:
    """The highest number from since_ns until until_ns, ends included."""
    first, last = (int(np.searchsorted(level[0], edge, "right")) for edge in (since_ns, until_ns))
    inside: list[int] = level[1][first:last].tolist()
    return max([_at(level, since_ns), *inside])


def _lowest(level: Level, since_ns: int, until_ns: int) -> int:
    """The lowest number from since_ns until until_ns, ends included."""
    return -_highest((level[0], -level[1]), since_ns, until_ns)


def _none_ns(level: Level, since_ns: int, until_ns: int) -> int:
    """How long it was 0 from since_ns until until_ns."""
    first, last = (int(np.searchsorted(level[0], edge, "right")) for edge in (since_ns, until_ns))
    edges = np.concatenate([[since_ns], level[0][first:last], [until_ns]])
    number = np.concatenate([[_at(level, since_ns)], level[1][first:last]])
    return int(np.diff(edges)[number == 0].sum())


def _thinned(level: Level, start_ns: int) -> Level:
    at_ns, number = level
    if at_ns.size > _POINTS:
        edges = np.linspace(0, at_ns.size, _POINTS, endpoint=False).astype(np.intp)
        highest = [int(a + np.argmax(number[a:b])) for a, b in zip(edges, [*edges[1:], at_ns.size], strict=True)]
        kept = np.unique([*highest, at_ns.size - 1])
        at_ns, number = at_ns[kept], number[kept]
    return at_ns - start_ns, number
