"""The PKCS#11 calls of one process in the order of their start, cut into epochs: what rules look at.

An epoch starts when a C_Initialize of this very process has returned CKR_OK, and lasts until the next one has. Epoch
0 is what came before the first: for a forked child, the life on what it inherited. CKR_CRYPTOKI_ALREADY_INITIALIZED
starts no epoch: it says that somebody else initialised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.analysis.sessions import SessionHistory, history
from lab.record.columns import Table
from lab.record.dtypes import ENDED
from lab.record.names import FUNCTION_NUMBER, ckr_name, function_name

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Origin:
    """The time that evidence counts from, and what happened then."""

    at_ns: int
    name: str

    def when(self, at_ns: int) -> str:
        """A time as people read it."""
        ms = (at_ns - self.at_ns) / 1e6
        return f"{abs(ms):.3f} ms {'after' if ms >= 0 else 'before'} {self.name}"


class ProcessCalls:
    """Columns of lab.record.columns.CALLS for one process, ascending in started_ns."""

    def __init__(self, index: int, calls: Table, origin: Origin) -> None:
        self.index = index
        self.origin = origin
        started = calls["started_ns"]
        if bool((started[1:] >= started[:-1]).all()):
            self._calls: Any = calls
        else:
            order = np.argsort(started, kind="stable")
            self._calls = {name: column[order] for name, column in calls.items()}
        self._rows_of: dict[str, Rows] = {}

    def __len__(self) -> int:
        return int(self.started_ns.size)

    @property
    def pid(self) -> int:
        return int(self._calls["pid"][0])

    @property
    def tid(self) -> NDArray[np.uint32]:
        return self._calls["tid"]  # type: ignore[no-any-return]

    @property
    def function(self) -> NDArray[np.uint8]:
        return self._calls["function"]  # type: ignore[no-any-return]

    @property
    def started_ns(self) -> NDArray[np.int64]:
        return self._calls["started_ns"]  # type: ignore[no-any-return]

    @property
    def ended_ns(self) -> NDArray[np.int64]:
        return self._calls["ended_ns"]  # type: ignore[no-any-return]

    @property
    def session(self) -> NDArray[np.uint64]:
        return self._calls["session"]  # type: ignore[no-any-return]

    @property
    def object(self) -> NDArray[np.uint64]:
        return self._calls["object"]  # type: ignore[no-any-return]

    @property
    def argument(self) -> NDArray[np.uint64]:
        return self._calls["argument"]  # type: ignore[no-any-return]

    @property
    def tag(self) -> NDArray[np.uint64]:
        return self._calls["tag"]  # type: ignore[no-any-return]

    @property
    def ckr(self) -> NDArray[np.uint32]:
        return self._calls["ckr"]  # type: ignore[no-any-return]

    @property
    def locking(self) -> NDArray[np.uint8]:
        return self._calls["locking"]  # type: ignore[no-any-return]

    @property
    def state(self) -> NDArray[np.uint8]:
        return self._calls["state"]  # type: ignore[no-any-return]

    def rows_of(self, function: str) -> Rows:
        """Rows of one function, ascending."""
        if function not in self._rows_of:
            found: Rows = np.flatnonzero(self.function == FUNCTION_NUMBER[function])
            self._rows_of[function] = found
        return self._rows_of[function]

    def successes(self, function: str) -> Rows:
        """Rows of one function that returned CKR_OK."""
        rows = self.rows_of(function)
        well: Rows = rows[(self.ckr[rows] == 0) & (self.state[rows] == ENDED)]
        return well

    @cached_property
    def one_thread(self) -> bool:
        """Whether all calls came from one thread."""
        return bool((self.tid == self.tid[0]).all())

    @cached_property
    def epochs(self) -> tuple[slice, ...]:
        """Rows of epoch 0, 1, ...: a call belongs to an epoch when it started no earlier than the epoch."""
        begins = np.sort(self.ended_ns[self.successes("C_Initialize")])
        edges = [0, *np.searchsorted(self.started_ns, begins).tolist(), len(self)]
        return tuple(slice(a, b) for a, b in pairwise(edges))

    @cached_property
    def uninitialised(self) -> tuple[slice, ...]:
        """Stretches of rows before an own C_Initialize, and from the end of a successful C_Finalize to the next one."""
        finals = np.sort(self.ended_ns[self.successes("C_Finalize")])
        dead_from = np.searchsorted(self.started_ns, finals)
        stretches = [self.epochs[0]]
        for epoch in self.epochs[1:]:
            inside = dead_from[(dead_from >= epoch.start) & (dead_from < epoch.stop)]
            if inside.size:
                stretches.append(slice(int(inside[0]), epoch.stop))
        return tuple(stretch for stretch in stretches if stretch.stop > stretch.start)

    @cached_property
    def sessions(self) -> SessionHistory:
        """Its own sessions over time; `leaked_row` counts among successes("C_OpenSession")."""
        opens = self.successes("C_OpenSession")
        closes = self.successes("C_CloseSession")
        all_closed = np.concatenate([self.successes("C_Finalize"), self.successes("C_CloseAllSessions")])
        return history(
            self.ended_ns[opens], self.session[opens], self.ended_ns[closes], self.session[closes],
            self.ended_ns[all_closed],
        )  # fmt: skip

    def durations(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """For each function that returned at least once: its name and how long each call took, in ns."""
        function, lasted = self.function, self.ended_ns - self.started_ns
        ended = self.state == ENDED
        if not bool(ended.all()):
            function, lasted = function[ended], lasted[ended]
        present = np.flatnonzero(np.bincount(function, minlength=256))
        for number in present:
            yield function_name(int(number)), lasted if present.size == 1 else lasted[function == number]

    def last_row(self) -> int:
        """The call that was under way when the process ended, or its last."""
        under_way = np.flatnonzero(self.state != ENDED)
        return int(under_way[0]) if under_way.size else len(self) - 1

    def who(self, row: int) -> str:
        """The process and thread of a call."""
        return f"process {self.index} (pid {self.pid}), thread {int(self.tid[row])}"

    def answered(self, row: int) -> str:
        """The function of a call and what the module answered."""
        name = function_name(int(self.function[row]))
        if self.state[row] != ENDED:
            return f"{name}, which never returned,"
        return f"{name}, which answered {ckr_name(int(self.ckr[row]))},"

    def describe(self, row: int) -> str:
        """One call as evidence: process, thread, function, CKR name, time."""
        return f"{self.who(row)}: {self.answered(row)} {self.origin.when(int(self.started_ns[row]))}"
