"""What does not fit on a screen, as CSV: processes, their failures, their open sessions over time, their hosts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lab.analysis.cold import STEPS
from lab.analysis.facts import TrialFacts
from lab.record.model import TrialRecord

FOLDER: Final = "tables"

_PROCESS: Final = (
    *("trial", "block", "arm", "process", "role", "pid", "end", "status", "finished", "planned", "pss_kib"),
    *(f"{step}_ms" for step in STEPS),
    *("last_call", "detail", "stack", "cpu_share"),
)
_FAILURE: Final = ("trial", "block", "arm", "process", "layer", "code", "functions", "count", "in_set_up", "side")
_SESSION: Final = ("trial", "block", "arm", "process", "at_ms", "open")
_HOST: Final = (
    *("trial", "block", "arm", "process", "host", "tls_contexts", "find_key_ms", "tls_context_ms"),
    *("first_handshake_ms", "handshakes", "sessions", "token_calls"),
)


def write_tables(folder: Path, trials: Sequence[tuple[TrialRecord, TrialFacts]]) -> None:
    """Writes processes.csv, failures.csv, sessions.csv and, where there were handshakes, hosts.csv.

    Times in ms; at_ms counts from the release of the trial.
    """
    folder.mkdir(exist_ok=True)
    _write(folder / "processes.csv", _PROCESS, (row for record, facts in trials for row in _processes(record, facts)))
    _write(folder / "failures.csv", _FAILURE, (row for _, facts in trials for row in _failures(facts)))
    _write(folder / "sessions.csv", _SESSION, (row for record, facts in trials for row in _sessions(record, facts)))
    if any(facts.handshakes is not None for _, facts in trials):
        _write(folder / "hosts.csv", _HOST, (row for _, facts in trials for row in _hosts(facts)))


def _processes(record: TrialRecord, facts: TrialFacts) -> Iterator[Sequence[Any]]:
    for process in record.processes:
        cold = facts.cold.get(process.index, {})
        yield (
            *(record.number, record.block, record.arm, process.index, process.role, process.pid, process.end),
            *(process.status, process.finished, process.planned, process.pss_kib),
            *(cold.get(step) for step in STEPS),
            *(process.last_call, process.detail, process.stack),
            process.cpu_ns / process.busy_ns if process.cpu_ns is not None and process.busy_ns else None,
        )


def _failures(facts: TrialFacts) -> Iterator[Sequence[Any]]:
    for process, failure in facts.failures_by_process:
        functions = " ".join(name for name, _ in failure.functions)
        place = (facts.number, facts.block, facts.arm, process)
        yield (*place, failure.layer, failure.code, functions, failure.count, failure.setup, failure.side)


def _hosts(facts: TrialFacts) -> Iterator[Sequence[Any]]:
    for host in facts.handshakes.hosts if facts.handshakes is not None else ():
        yield (
            *(facts.number, facts.block, facts.arm, host.process, host.host, host.tls_contexts),
            *(host.find_key_ms, host.tls_context_ms, host.first_handshake_ms),
            *(host.handshakes, host.sessions, host.token_calls),
        )


def _sessions(record: TrialRecord, facts: TrialFacts) -> Iterator[Sequence[Any]]:
    start_ns = record.released_ns or 0
    for process, (at_ns, count) in sorted(facts.sessions.series.items()):
        for at, number in zip(at_ns.tolist(), count.tolist(), strict=True):
            yield facts.number, facts.block, facts.arm, process, (at - start_ns) / 1e6, number


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
