"""Small trials built by hand: a few calls and operations, as the columns that a sealed trial has. Times are in ms."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.analysis.calls import Origin, ProcessCalls
from lab.analysis.trial import TrialFacts, examine
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import BEGUN, ENDED, KIND, LOCKING, PHASE
from lab.record.model import ProcessRecord, TrialRecord
from lab.record.names import FUNCTION_NUMBER, MECHANISM

NS_PER_MS = 1_000_000
ECDSA = MECHANISM["ECDSA"]
NOT_INITIALIZED = 0x190
ALREADY_INITIALIZED = 0x191
ALREADY_LOGGED_IN = 0x100


def worker(index: int = 1, planned: int = 0, **fields: Any) -> ProcessRecord:
    given: dict[str, Any] = {"role": "worker", "end": "exit", "status": 0, "pss_kib": 2048, "threads": 1}
    return ProcessRecord(index=index, pid=1000 + index, planned=planned, **(given | fields))


def record(*processes: ProcessRecord, **fields: Any) -> TrialRecord:
    given: dict[str, Any] = {
        "number": 1, "block": 1, "arm": "a", "open_loop": True, "released_ns": 0, "warmup_ns": 0,
        "duration_ns": 1_000 * NS_PER_MS, "lost_rows": 0,
    }  # fmt: skip
    return TrialRecord(processes=processes, **(given | fields))


class TrialBuilder:
    """Collects calls and operations; each call takes half a millisecond from the clock unless its times are given."""

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._operations: list[dict[str, Any]] = []
        self._clock_ms = 0.0

    def call(
        self,
        function: str,
        process: int = 1,
        *,
        tid: int | None = None,
        at: float | None = None,
        until: float | None = None,
        session: int = 0,
        key: int = 0,
        argument: int = 0,
        tag: int = 0,
        ckr: int = 0,
        locking: str = "os",
        tap_changed: bool = False,
        returned: bool = True,
    ) -> TrialBuilder:
        self._clock_ms += 1
        start = self._clock_ms if at is None else at
        end = start + 0.5 if until is None else until
        self._calls.append(
            {
                "process": process,
                "pid": 1000 + process,
                "tid": 1000 + process if tid is None else tid,
                "function": FUNCTION_NUMBER[function],
                "started_ns": int(start * NS_PER_MS),
                "ended_ns": int(end * NS_PER_MS) if returned else 0,
                "session": session,
                "object": key,
                "argument": argument,
                "tag": tag,
                "ckr": ckr,
                "locking": (LOCKING[locking] + 128 * tap_changed) if function == "C_Initialize" else 0,
                "state": ENDED if returned else BEGUN,
            }
        )
        return self

    def begin(self, process: int = 1, session: int = 5, key: int = 7, locking: str = "os") -> TrialBuilder:
        """The set-up of a process that keeps all rules."""
        self.call("C_Initialize", process, locking=locking)
        self.call("C_OpenSession", process, session=session)
        self.call("C_Login", process, session=session)
        self.call("C_FindObjects", process, session=session, key=key, argument=1)
        return self

    def sign(
        self,
        process: int = 1,
        *,
        session: int = 5,
        key: int = 7,
        tag: int = 0,
        data: int = 1,
        mechanism: int = ECDSA,
        **fields: Any,
    ) -> TrialBuilder:
        self.call("C_SignInit", process, session=session, key=key, argument=mechanism, **fields)
        return self.call("C_Sign", process, session=session, argument=data, tag=tag, **fields)

    def end(self, process: int = 1, session: int = 5) -> TrialBuilder:
        self.call("C_CloseSession", process, session=session)
        return self.call("C_Finalize", process)

    def operation(
        self,
        process: int = 1,
        sequence: int = 0,
        *,
        thread: int = 0,
        at: float = 0,
        lag: float = 0,
        lasts: float = 1,
        outcome: str = "ok",
        phase: str = "measured",
        kind: str = "sign",
        code: int = 0,
        function: str | None = None,
        verified: int = columns.RIGHT,
    ) -> TrialBuilder:
        self._operations.append(
            {
                "process": process,
                "thread": thread,
                "tid": 1000 + process,
                "kind": KIND[kind],
                "phase": PHASE[phase],
                "sequence": sequence,
                "intended_ns": int(at * NS_PER_MS),
                "started_ns": int((at + lag) * NS_PER_MS),
                "ended_ns": 0 if outcome == "info" else int((at + lag + lasts) * NS_PER_MS),
                "outcome": columns.OUTCOMES.index(outcome),
                "layer": 0,
                "code": code,
                "function": FUNCTION_NUMBER[function] if function else 0,
                "session": 5,
                "vhost": 0,
                "verified": verified if outcome == "ok" else columns.UNVERIFIED,
            }
        )
        return self

    @property
    def calls(self) -> Table:
        return _table(self._calls, columns.CALLS)

    @property
    def operations(self) -> Table:
        return _table(self._operations, columns.OPERATIONS)

    def process(self, index: int = 1) -> ProcessCalls:
        """The calls of one process, as rules see them; times count from 0."""
        rows = [row for row in self._calls if row["process"] == index]
        return ProcessCalls(index, dict(_table(rows, columns.CALLS)), Origin(0, "release"))

    def examine(self, trial: TrialRecord) -> TrialFacts:
        return examine(trial, self.operations, self.calls)


def steady(trial: TrialRecord, operations: int, lasts_ms: float = 1.0) -> TrialFacts:
    """A trial of one worker whose every operation lasts the same, verified and on time."""
    builder = TrialBuilder()
    for sequence in range(operations):
        builder.operation(sequence=sequence, at=10.0 * sequence, lasts=lasts_ms)
    return builder.examine(trial)


def _table(rows: list[dict[str, Any]], dtypes: Any) -> Table:
    grouped = sorted(rows, key=lambda row: row["process"])  # stable: within a process, in the order of the claims
    return {name: np.array([row[name] for row in grouped], dtype) for name, dtype in dtypes.items()}
