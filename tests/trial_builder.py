"""Small trials built by hand: a few calls and operations, as the columns that a sealed trial has. Times are in ms."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lab.analysis.calls import Origin, ProcessCalls
from lab.analysis.facts import TrialFacts
from lab.analysis.trial import examine
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import BEGUN, ENDED, KIND, LAYER, LOCKING, PHASE, SIDE
from lab.record.model import ProcessRecord, TrialRecord
from lab.record.names import FUNCTION_NUMBER, MECHANISM

NS_PER_MS = 1_000_000
ECDSA = MECHANISM["ECDSA"]
NOT_INITIALIZED = 0x190
ALREADY_INITIALIZED = 0x191
ALREADY_LOGGED_IN = 0x100


def worker(index: int = 1, planned: int = 0, **fields: Any) -> ProcessRecord:
    given: dict[str, Any] = {"role": "worker", "end": "exit", "status": 0, "pss_kib": 2048, "threads": 1}
    return ProcessRecord(index=index, planned=planned, **({"pid": 1000 + index} | given | fields))


def generator(index: int = 9, planned: int = 0, **fields: Any) -> ProcessRecord:
    return worker(index, planned, **{"role": "generator", "pss_kib": None, **fields})


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
        self._connections: list[dict[str, Any]] = []
        self._handshakes: Counter[int] = Counter()
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
        layer: str = "pkcs11",
        function: str | None = None,
        vhost: int = 0,
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
                "layer": LAYER[layer],
                "code": code,
                "function": FUNCTION_NUMBER[function] if function else 0,
                "session": 5,
                "vhost": vhost,
                "verified": verified if outcome == "ok" else columns.UNVERIFIED,
            }
        )
        return self

    def connection(
        self,
        process: int,
        side: str,
        *,
        random: int,
        tag: int = 0,
        opened: float,
        ended: float,
        steps: tuple[tuple[float, float], ...] = (),
        operation: int = -1,
        outcome: str = "ok",
        layer: str = "pkcs11",
        code: int = 0,
        function: str | None = None,
        vhost: int = 0,
        tid: int | None = None,
        resumed: bool = False,
        further_steps: int = 0,
    ) -> TrialBuilder:
        """One end of a connection; steps: begin and end of each, at most four, the last with all further ones."""
        row = dict.fromkeys(columns.CONNECTIONS, 0) | {
            "process": process,
            "operation": operation,
            "opened_ns": int(opened * NS_PER_MS),
            "ended_ns": 0 if outcome == "info" else int(ended * NS_PER_MS),
            "random": random,
            "tag": tag,
            "tid": 1000 + process if tid is None else tid,
            "code": code,
            "vhost": vhost,
            "side": SIDE[side],
            "layer": LAYER[layer],
            "function": FUNCTION_NUMBER[function] if function else 0,
            "resumed": int(resumed),
            "steps": len(steps) + further_steps,
            "outcome": columns.OUTCOMES.index(outcome),
        }
        for number, (begin, end) in enumerate(steps, start=1):
            row |= {f"step{number}_started_ns": int(begin * NS_PER_MS), f"step{number}_ended_ns": int(end * NS_PER_MS)}
        self._connections.append(row)
        return self

    def handshake(
        self,
        random: int,
        *,
        tag: int = 0,
        at: float = 0,
        lag: float = 0,
        server: int = 1,
        client: int = 9,
        vhost: int = 0,
        phase: str = "measured",
        resumed: bool = False,
        session: int = 5,
        thread: int = 0,
        signs: bool = True,
    ) -> TrialBuilder:
        """A whole one of TLS 1.3: the client starts `lag` after `at`, and from then on (ms) it goes so.

        accept 1, waiting 0.5, software 0.25, token 2 (C_SignInit 0.5, C_Sign 1.5), software 0.25, back 1.
        """
        start = at + lag
        sequence = self._handshakes[client]
        self._handshakes[client] += 1
        self.operation(
            client, sequence, thread=thread, at=at, lag=lag, lasts=5, phase=phase, kind="handshake", vhost=vhost
        )
        fields: dict[str, Any] = {"random": random, "vhost": vhost, "resumed": resumed}
        self.connection(client, "client", operation=sequence, opened=start + 0.5, ended=start + 5, tag=tag, **fields)
        steps = ((start + 1.5, start + 4), (start + 5.25, start + 5.5))  # the second reads the client's Finished
        self.connection(server, "server", opened=start + 1, ended=start + 5.5, steps=steps, **fields)
        if signs:
            self.call("C_SignInit", server, at=start + 1.75, until=start + 2.25, session=session, argument=ECDSA)
            self.call("C_Sign", server, at=start + 2.25, until=start + 3.75, session=session, argument=random, tag=tag)
        return self

    @property
    def connections(self) -> Table:
        return _table(self._connections, columns.CONNECTIONS)

    def mark_wrong(self) -> None:
        """The operation that was added last had a wrong signature."""
        self._operations[-1]["verified"] = columns.WRONG

    def rows_of_connections(self, process: int) -> list[dict[str, Any]]:
        """The rows themselves, to change."""
        return [row for row in self._connections if row["process"] == process]

    def connections_of(self, process: int) -> Table:
        return _table(self.rows_of_connections(process), columns.CONNECTIONS)

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
        return examine(trial, self.operations, self.calls, self.connections)


def steady(trial: TrialRecord, operations: int, lasts_ms: float = 1.0) -> TrialFacts:
    """A trial of one worker whose every operation lasts the same, verified and on time."""
    builder = TrialBuilder()
    for sequence in range(operations):
        builder.operation(sequence=sequence, at=10.0 * sequence, lasts=lasts_ms)
    return builder.examine(trial)


def _table(rows: list[dict[str, Any]], dtypes: Any) -> Table:
    grouped = sorted(rows, key=lambda row: row["process"])  # stable: within a process, in the order of the claims
    return {name: np.array([row[name] for row in grouped], dtype) for name, dtype in dtypes.items()}
