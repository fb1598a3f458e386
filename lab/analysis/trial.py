"""One trial's rows to its facts: everything that later stages need, in a few bytes per operation at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.analysis import cold, failures, latency, outcomes
from lab.analysis.calls import Origin, ProcessCalls
from lab.analysis.failures import Failure
from lab.analysis.latency import Latency
from lab.analysis.outcomes import Outcomes
from lab.analysis.quantiles import QUANTILES, Distribution, distribution, in_ms, merged
from lab.analysis.rules import RULES, TrialView, check_process, check_trial, randomness
from lab.analysis.rules.context import declares_fork_safe, left_open
from lab.analysis.rules.endings import LastCall, ParentCheck
from lab.analysis.rules.finding import NOT_EXERCISED, Finding, check_failed, together
from lab.analysis.segments import by_process
from lab.analysis.sessions import SessionHistory, in_order, peak
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import PHASE
from lab.record.model import TrialRecord

Series = tuple[NDArray[np.int64], NDArray[np.int32]]


@dataclass(frozen=True)
class SessionFacts:
    """Sessions of a trial; series: for each process, when its number of open sessions changed (ns) and to what."""

    opened: int
    closed: int
    leaked: int
    peak_per_process: int
    peak_total: int
    series: Mapping[int, Series]


@dataclass(frozen=True)
class ProcessFacts:
    """started: workers that came to life; crashed, hung: of all processes; pss_mib: of workers, where it was read."""

    started: int
    crashed: int
    hung: int
    pss_mib: tuple[float, ...]
    workers: int = 0
    failed: int = 0  # workers without a context, or that did not do their part of the load to the end


@dataclass(frozen=True)
class TrialFacts:
    """What one trial showed."""

    number: int
    block: int
    arm: str
    partial: bool
    invalid_because: tuple[str, ...]
    outcomes: Outcomes
    duration_s: float
    done_in_time: int  # operations that ended well within the measured time, whenever they were due
    latency: Latency
    calls: Mapping[str, Distribution]
    cold: Mapping[int, Mapping[str, float]]  # of each worker
    sessions: SessionFacts
    processes: ProcessFacts
    failures: tuple[Failure, ...]
    failures_by_process: tuple[tuple[int, Failure], ...]
    rules: Mapping[str, Finding]

    @property
    def usable(self) -> bool:
        """Whether its durations and rates may be read: it is whole and valid."""
        return not self.invalid_because and not self.partial

    def figures(self) -> dict[str, float | None]:
        """The figures that arms are compared by, named as in summary.json ("response_ms.p50")."""
        found: dict[str, float | None] = {
            "throughput_hz": self.done_in_time / self.duration_s if self.duration_s > 0 else None,
            "processes.pss_mib_p50": median(self.processes.pss_mib) if self.processes.pss_mib else None,
            "sessions.peak_total": self.sessions.peak_total,
            "sessions.opened": self.sessions.opened,
        }
        for name in ("response", "service", "lag"):
            for quantile, value in in_ms(getattr(self.latency, name)).items():
                found[f"{name}_ms.{quantile}"] = value
        for function, durations in self.calls.items():
            for quantile, value in in_ms(durations, QUANTILES, largest=False).items():
                found[f"pkcs11_ms.{function}.{quantile}"] = value
        found |= {f"cold_ms.{step}": value for step, value in cold.medians_ms(self.cold.values()).items()}
        return found


def examine(record: TrialRecord, operations: Table, calls: Table) -> TrialFacts:
    """Judges one trial.

    operations, calls: tables with the columns of lab.record.columns, rows grouped by process. Raises ValueError where
    they are not grouped; what devices and processes did wrong is in the facts, never an exception.
    """
    view = _view(record, operations, calls)
    problems = list(record.invalid_because)
    counted, cold_starts, delays, faults, in_time = _operations(record, operations, view, problems)
    durations, sessions, findings = _calls(record, calls, view)
    findings |= check_trial(view)
    workers = [process for process in record.processes if process.role == "worker"]
    never = [process for process in workers if process.end == "never-started"]
    if never:
        problems.append(f"{len(never)} of {len(workers)} workers never started")
    if not workers:
        problems.append("no workers")
    if record.lost_rows:
        problems.append(f"{record.lost_rows} rows were lost")
    explained = record.partial or any(process.end in ("signal", "hang", "root-died") for process in record.processes)
    if not counted.planned - counted.shed and not explained:
        problems.append("no operation at all")
    return TrialFacts(
        number=record.number,
        block=record.block,
        arm=record.arm,
        partial=record.partial,
        invalid_because=tuple(dict.fromkeys(problems)),
        outcomes=counted,
        duration_s=record.duration_ns / 1e9,
        done_in_time=in_time,
        latency=delays,
        calls=durations,
        cold=cold_starts,
        sessions=sessions,
        processes=ProcessFacts(
            started=len(workers) - len(never),
            crashed=sum(process.end == "signal" for process in record.processes),
            hung=sum(process.end == "hang" for process in record.processes),
            pss_mib=tuple(process.pss_kib / 1024 for process in workers if process.pss_kib is not None),
            workers=len(workers),
            failed=sum(p.end != "exit" or not p.finished or bool(p.detail) for p in workers),
        ),
        failures=tuple(failures.together(fault for _, fault in faults)),
        failures_by_process=tuple(faults),
        rules={name: findings.get(name, NOT_EXERCISED) for name in RULES},
    )


def _view(record: TrialRecord, operations: Table, calls: Table) -> TrialView:
    if record.released_ns is not None:
        return TrialView(record, Origin(record.released_ns, "release"))
    starts = [int(table["started_ns"].min()) for table in (operations, calls) if table["started_ns"].size]
    return TrialView(record, Origin(min(starts, default=0), "the first call"))


def _operations(
    record: TrialRecord, operations: Table, view: TrialView, problems: list[str]
) -> tuple[Outcomes, dict[int, dict[str, float]], Latency, list[tuple[int, Failure]], int]:
    known = {process.index: process for process in record.processes}
    counted = Outcomes()
    cold_starts: dict[int, dict[str, float]] = {}
    delays: list[Latency] = []
    faults: list[tuple[int, Failure]] = []
    unfinished: dict[int, int] = {}
    in_time = 0
    for index, rows in by_process(operations):
        process = known.get(index)
        if process is None:
            problems.append(f"operations of a process {index} that nobody started")
            continue
        one, wrong = outcomes.of_process(process, rows, record.open_loop)
        problems += wrong
        counted += one
        unfinished[index] = int(np.count_nonzero(rows["outcome"] == columns.INFO))
        faults += [(index, fault) for fault in failures.of_operations(rows)]
        delays.append(latency.of_process(rows, record.open_loop))
        in_time += done_in_time(record, rows)
        if process.role == "worker":
            cold_starts[index] = cold.of_process(rows)
        view.parent_checks += _parent_checks(rows) if index == 0 else []
        del rows  # before the next process is loaded
    for process in record.processes:
        if process.index not in unfinished and process.planned:
            one, wrong = outcomes.of_process(process, None, record.open_loop)
            problems += wrong
            counted += one
        faults += [(process.index, fault) for fault in failures.of_ending(process, unfinished.get(process.index, 0))]
    return counted, cold_starts, latency.together(delays), faults, in_time


def done_in_time(record: TrialRecord, rows: Table) -> int:
    """Operations of the load that ended well between the end of the warm-up and the end of the measured time.

    In an open loop above capacity the backlog is worked off long after, which is no throughput.
    """
    if record.released_ns is None:
        return 0
    begin_ns = record.released_ns + record.warmup_ns
    phase, ended_ns = rows["phase"], rows["ended_ns"]
    load = (phase == PHASE["warmup"]) | (phase == PHASE["measured"])
    well = load & (rows["outcome"] == columns.OK)
    return int(np.count_nonzero(well & (ended_ns >= begin_ns) & (ended_ns < begin_ns + record.duration_ns)))


def _parent_checks(rows: Table) -> list[ParentCheck]:
    return [
        ParentCheck(
            outcome=int(rows["outcome"][row]),
            code=int(rows["code"][row]),
            function=int(rows["function"][row]),
            tid=int(rows["tid"][row]),
            at_ns=int(rows["started_ns"][row]),
        )
        for row in np.flatnonzero(rows["phase"] == PHASE["parent_check"])
    ]


def _calls(
    record: TrialRecord, calls: Table, view: TrialView
) -> tuple[dict[str, Distribution], SessionFacts, dict[str, Finding]]:
    known: dict[int, Any] = {process.index: process for process in record.processes}
    durations: dict[str, list[Distribution]] = {}
    histories: dict[int, SessionHistory] = {}
    findings: dict[str, list[Finding]] = {}
    unseen: Finding | None = None
    fork_safe = False
    for index, rows in by_process(calls):
        process = ProcessCalls(index, rows, view.origin)
        for function, lasted in process.durations():
            durations.setdefault(function, []).append(distribution(lasted))
        histories[index] = process.sessions
        for name, finding in check_process(process, known.get(index)).items():
            findings.setdefault(name, []).append(finding)
        fork_safe = fork_safe or declares_fork_safe(process)
        try:
            view.random_outputs.append(randomness.collect(process))
        except Exception as problem:  # what cannot be looked at does not conform
            unseen = check_failed(problem)
        last = process.last_row()
        view.last_calls[index] = LastCall(int(process.started_ns[last]), process.describe(last))
        del process, rows  # before the next process is loaded: never two at once
    if fork_safe:
        findings["initialize-per-process"] = [left_open(one) for one in findings["initialize-per-process"]]
    if unseen is not None:
        findings["unique-randomness"] = [unseen]
    return (
        {function: merged(parts) for function, parts in sorted(durations.items())},
        _session_facts(histories),
        {name: together(found) for name, found in findings.items()},
    )


def _session_facts(histories: Mapping[int, SessionHistory]) -> SessionFacts:
    every = list(histories.values())
    at_ns, change = in_order([history.at_ns for history in every], [history.change for history in every])
    return SessionFacts(
        opened=sum(history.opened for history in every),
        closed=sum(history.closed for history in every),
        leaked=sum(history.leaked for history in every),
        peak_per_process=max((history.peak for history in every), default=0),
        peak_total=peak(at_ns, change),
        series={index: history.series() for index, history in histories.items() if history.opened},
    )
