"""Who descends from whom among the processes of a trial, as far as their records tell."""

from __future__ import annotations

from collections.abc import Mapping

from lab.analysis.uses import ProcessUse
from lab.record.model import ProcessRecord, TrialRecord

_BROKER = "p11-kit"


class Lineage:
    """Parents by pid. A worker of a real server whose parent is not known has its master for one."""

    def __init__(self, record: TrialRecord, uses: Mapping[int, ProcessUse]) -> None:
        self._uses = uses
        self._records = {process.index: process for process in record.processes}
        self._by_pid = {process.pid: process.index for process in reversed(record.processes) if process.pid}
        self.real = record.server is not None
        masters = [process for process in record.processes if process.role == "master"]
        self._master = masters[-1].index if masters else None
        for process in masters:  # the one that lasted is the master, also where the program became a daemon
            if process.gone_ns is None:
                self._master = process.index
        self._starters = self._possible_starters() if self.real else ()

    @property
    def master(self) -> int | None:
        """Index of a real server's master; of a daemon, the process that stayed."""
        return self._master

    @property
    def server(self) -> list[ProcessRecord]:
        """The processes of a real server's tree."""
        return [process for process in self._records.values() if process.role in ("master", "worker")]

    def record(self, index: int) -> ProcessRecord | None:
        return self._records.get(index)

    def parent(self, index: int) -> int | None:
        """Index of the parent; None where it is none of the trial's, or not known."""
        process = self._records.get(index)
        if process is None:
            return None
        known = None if process.parent is None else self._by_pid.get(process.parent)
        known = None if known == index else known
        if not self.real or process.role not in ("master", "worker"):
            if known is None and process.role == "worker" and index != 0 and 0 in self._records:
                return 0
            return known
        if known is not None and self._records[known].role != "root":
            return known
        # Else it has lost its parent, and the trial root may have adopted it.
        if process.role == "worker" and self._master not in (None, index):
            return self._master
        starter = self._starter_of(index)
        return known if starter is None else starter

    def ancestors(self, index: int) -> list[int]:
        """Indexes from the parent upwards."""
        found: list[int] = []
        at = self.parent(index)
        while at is not None and at != index and at not in found:
            found.append(at)
            at = self.parent(at)
        return found

    def is_master(self, index: int) -> bool:
        """Whether it is a real server's master, or has children in its tree."""
        process = self._records.get(index)
        if process is None or not self.real or process.role not in ("master", "worker"):
            return False
        return process.role == "master" or any(
            other.parent == process.pid for other in self._records.values() if other.index != index
        )

    def initialised_ancestor(self, index: int) -> int | None:
        """The nearest ancestor that had a context of its own before this process's first call."""
        own = self._uses.get(index)
        for ancestor in self.ancestors(index):
            use = self._uses.get(ancestor)
            if use and use.initialised_ns and (own is None or use.initialised_ns[0] <= own.first_ns):
                return ancestor
        return None

    def _possible_starters(self) -> tuple[int, ...]:
        """Processes that may have become a daemon: they initialised, are no broker, and belong to no known tree."""
        return tuple(
            index
            for index, use in self._uses.items()
            if use.initialised_ns
            and (process := self._records.get(index)) is not None
            and process.role in ("master", "other", "root")
            and not (process.program or "").startswith(_BROKER)
        )

    def _starter_of(self, index: int) -> int | None:
        """Of a daemon, whose parent is gone before it makes a call: the process that had last called before it did."""
        use = self._uses.get(index)
        if use is None:
            return None
        before = [other for other in self._starters if other != index and self._uses[other].last_ns <= use.first_ns]
        return max(before, key=lambda other: self._uses[other].last_ns, default=None)
