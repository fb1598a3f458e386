"""One trial's rows to its facts, a process at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from lab.analysis import (
    at_token,
    cold,
    course,
    diagnosis,
    failures,
    latency,
    noise,
    nonces,
    outcomes,
    real_server,
    restarts,
    traced,
    uses,
)
from lab.analysis.calls import Origin, ProcessCalls
from lab.analysis.course import Course
from lab.analysis.facts import ProcessFacts, SessionFacts, TrialFacts
from lab.analysis.failures import Failure
from lab.analysis.handshakes import LEAST_JOINED, HandshakeFacts, Handshakes
from lab.analysis.latency import Latency
from lab.analysis.outcomes import Outcomes
from lab.analysis.quantiles import Distribution, distribution, merged
from lab.analysis.restarts import Asked
from lab.analysis.rules import RULES, TrialView, check_process, check_trial, randomness
from lab.analysis.rules.context import declares_fork_safe, left_open, of_one_application
from lab.analysis.rules.endings import LastCall, ParentCheck, signal_name
from lab.analysis.rules.finding import NOT_EXERCISED, Finding, check_failed, together
from lab.analysis.segments import by_process
from lab.analysis.sessions import SessionHistory, in_order, peak
from lab.analysis.traced import TracedProcess
from lab.analysis.uses import ProcessUse
from lab.record import columns
from lab.record.columns import CONNECTIONS, Table
from lab.record.dtypes import PHASE
from lab.record.model import ProcessRecord, TrialRecord

NO_CONNECTIONS: Final[Table] = {name: np.empty(0, dtype) for name, dtype in CONNECTIONS.items()}


def examine(record: TrialRecord, operations: Table, calls: Table, connections: Table = NO_CONNECTIONS) -> TrialFacts:
    """Judges one trial.

    operations, calls, connections: tables with the columns of lab.record.columns, rows grouped by process. Raises
    ValueError where they are not grouped; what devices and processes did wrong is in the facts, never an exception.
    """
    view = _view(record, operations, calls)
    problems = list(record.invalid_because)
    workers = [process for process in record.processes if process.role == "worker"]
    generators = [process for process in record.processes if process.role == "generator"]
    if record.server is not None and not workers:  # one without workers, such as stunnel, serves by itself
        workers = [process for process in record.processes if process.role == "master"]
    ours = bool(workers) or record.server is not None
    handshakes = Handshakes(connections, dict(record.error_texts), server=ours) if generators else None
    asked: list[Asked] = []
    counted, cold_starts, delays, in_time, faults = _operations(record, operations, view, handshakes, problems, asked)
    found = _calls(record, calls, view, handshakes)
    findings, seen = found.findings, found.seen
    if record.traced:
        faults += [(process.index, fault) for process in seen for fault in process.failures]
        known = {process.index for process in seen}
        seen += [traced.without_calls(process) for process in record.processes if process.index not in known]
    served = handshakes.done() if handshakes else None
    if served:
        faults += served.failures
        problems += _not_joined(served) if not _log_cut(record) else []
    findings |= check_trial(view)
    repeated = nonces.of_trial(record, view.origin)
    unique = "unique-randomness"
    findings[unique] = nonces.of_rule(findings[unique], repeated, record)
    sessions = _session_facts(_users(found.histories, record), record)
    server = None
    if record.server is not None:
        server, wrong = real_server.of_trial(record, connections, found.uses, seen, found.histories, Asked.of(asked))
        problems += wrong
    never = [process for process in workers if process.end == "never-started"]
    if never:
        problems.append(f"{len(never)} of {len(workers)} workers never started")
    if not workers and not generators and not record.traced:
        problems.append("no workers")
    problems += [problem for process in generators for problem in _generator_problems(process)]
    if record.lost_rows:
        problems.append(f"{record.lost_rows} rows were lost")
    explained = (
        record.partial
        or record.traced
        or any(process.end in ("signal", "hang", "root-died") for process in record.processes)
    )
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
        done_in_time=int(in_time.done.sum()),
        course=in_time,
        noise=noise.of_trial(record),
        latency=delays,
        calls=found.durations,
        cold=_with_handshakes(cold_starts, served) if server is None else _from_calls(workers, found.uses),
        sessions=sessions,
        processes=ProcessFacts(
            started=len(workers) - len(never),
            crashed=sum(p.end == "signal" and not record.killed_by_wish(p) for p in record.processes),
            hung=sum(process.end == "hang" for process in record.processes),
            pss_mib=tuple(process.pss_kib / 1024 for process in workers if process.pss_kib is not None),
            workers=len(workers),
            failed=sum(_failed(record, process) for process in workers),
            generators=len(generators),
            generator_cpu_shares=tuple(p.cpu_ns / p.busy_ns for p in generators if p.cpu_ns is not None and p.busy_ns),
        ),
        failures=tuple(failures.together(fault for _, fault in faults)),
        failures_by_process=tuple(faults),
        rules={name: findings.get(name, NOT_EXERCISED) for name in RULES},
        handshakes=served,
        traced=tuple(sorted(seen, key=lambda process: process.index)) if record.traced else (),
        diagnosis=diagnosis.diagnose(record, found.uses, view.origin) if found.durations or found.uses else {},
        server=server,
        nonces=repeated,
        at_token=_at_token(record, found, sessions) if found.parts and not record.traced else None,
    )


def _failed(record: TrialRecord, process: ProcessRecord) -> bool:
    """Whether a worker had no context, or did not do its part to the end.

    A real server ends its workers as it likes, and mostly nobody else sees how: only a crash, a hang or an exit status
    other than 0 is a failure there.
    """
    if record.server is None:
        return process.end != "exit" or not process.finished or bool(process.detail)
    if record.killed_by_wish(process):
        return False
    ended_badly = process.end in ("signal", "hang", "root-died", "never-started")
    return ended_badly or (process.end == "exit" and process.status != 0)


def _log_cut(record: TrialRecord) -> bool:
    """Whether a real server's log may miss handshakes, because who had to write of them was ended before."""
    return record.server is not None and any(
        process.end in ("signal", "hang", "root-died") for process in record.processes if process.role != "generator"
    )


def _from_calls(servers: Sequence[ProcessRecord], kept: Mapping[int, ProcessUse]) -> dict[int, dict[str, float]]:
    """Cold starts of a real server's processes, of those that had any."""
    return {
        process.index: dict(kept[process.index].cold)
        for process in servers
        if process.index in kept and kept[process.index].cold
    }


def _not_joined(served: HandshakeFacts) -> list[str]:
    share = served.join_share
    if share is None or share >= LEAST_JOINED:
        return []
    return [
        f"only {served.joined:,} of {served.well:,} handshakes that ended well were found on the server"
        f" ({100 * share:.4g} %; {100 * LEAST_JOINED:g} % are needed)"
    ]


def _generator_problems(process: ProcessRecord) -> list[str]:
    """A generator is the lab's own: without it nothing was measured, whatever the server did."""
    who = f"the load generator (process {process.index})"
    if process.end == "never-started":
        return [f"{who} never started"]
    if process.end == "signal":
        return [f"{who} crashed: {signal_name(process.status)}"]
    if process.end == "hang":
        return [f"{who} hung"]
    if process.end == "exit" and (process.status or process.detail or not process.finished):
        return [f"{who} ended early: {process.detail or f'exit status {process.status}'}"]
    return []


def _with_handshakes(
    servers: Mapping[int, tuple[dict[str, float], float]], served: HandshakeFacts | None
) -> dict[int, dict[str, float]]:
    """Cold starts of workers; of servers, with their first handshake."""
    found = {index: steps for index, (steps, _) in servers.items()}
    for index, first_ms in (served.first_ms if served else {}).items():
        steps, setup_ms = servers.get(index, ({}, 0.0))
        found[index] = cold.with_first_handshake(steps, setup_ms, first_ms)
    return found


def _view(record: TrialRecord, operations: Table, calls: Table) -> TrialView:
    if record.released_ns is not None:
        if record.traced:
            return TrialView(record, Origin(record.released_ns, "the start"))
        return TrialView(record, Origin(record.released_ns, "release"))
    starts = [int(table["started_ns"].min()) for table in (operations, calls) if table["started_ns"].size]
    return TrialView(record, Origin(min(starts, default=0), "the first call"))


def _operations(
    record: TrialRecord,
    operations: Table,
    view: TrialView,
    handshakes: Handshakes | None,
    problems: list[str],
    asked: list[Asked],
) -> tuple[Outcomes, dict[int, tuple[dict[str, float], float]], Latency, Course, list[tuple[int, Failure]]]:
    known = {process.index: process for process in record.processes}
    counted = Outcomes()
    cold_starts: dict[int, tuple[dict[str, float], float]] = {}
    texts = dict(record.error_texts)
    delays: list[Latency] = []
    courses: list[Course] = []
    faults: list[tuple[int, Failure]] = []
    unfinished: dict[int, int] = {}
    for index, rows in by_process(operations):
        process = known.get(index)
        if process is None:
            problems.append(f"operations of a process {index} that nobody started")
            continue
        one, wrong = outcomes.of_process(process, rows, record.open_loop)
        problems += wrong
        counted += one
        unfinished[index] = int(np.count_nonzero(rows["outcome"] == columns.INFO))
        problems += failures.of_the_lab(rows)
        faults += [(index, fault) for fault in failures.of_operations(rows, texts)]
        delays.append(latency.of_process(rows, record.open_loop))
        courses.append(course.of_process(record, rows))
        if process.role == "worker":
            cold_starts[index] = cold.of_server(rows) if handshakes else (cold.of_process(rows), 0.0)
        if handshakes:
            handshakes.set_up(index, rows)
            unfinished[index] += handshakes.unfinished(index)
            if process.role == "generator":
                handshakes.clients(index, rows)
                if record.server is not None:
                    asked.append(restarts.asked(rows))
        view.parent_checks += _parent_checks(rows) if index == 0 else []
        del rows  # before the next process is loaded
    for process in record.processes:
        if process.index not in unfinished and process.planned:
            one, wrong = outcomes.of_process(process, None, record.open_loop)
            problems += wrong
            counted += one
        if not record.killed_by_wish(process):
            left = unfinished.get(process.index, 0)
            faults += [(process.index, fault) for fault in failures.of_ending(process, left)]
    return counted, cold_starts, latency.together(delays), course.together(courses), faults


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


@dataclass
class _FromCalls:
    """What is kept of the calls of all processes."""

    durations: dict[str, Distribution] = field(default_factory=dict)
    histories: dict[int, SessionHistory] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    seen: list[TracedProcess] = field(default_factory=list)
    uses: dict[int, ProcessUse] = field(default_factory=dict)
    parts: dict[int, at_token.Part] = field(default_factory=dict)
    owners_durations: dict[str, Distribution] = field(default_factory=dict)


def _calls(record: TrialRecord, calls: Table, view: TrialView, handshakes: Handshakes | None) -> _FromCalls:
    known: dict[int, Any] = {process.index: process for process in record.processes}
    durations: dict[str, list[Distribution]] = {}
    owners: dict[str, list[Distribution]] = {}
    owning = record.owning
    found = _FromCalls()
    findings: dict[str, list[Finding]] = {}
    logins: dict[int, Finding] = {}
    unseen: Finding | None = None
    fork_safe = False
    for index, rows in by_process(calls):
        process = ProcessCalls(index, rows, view.origin)
        for function, lasted in process.durations():
            (owners if index in owning else durations).setdefault(function, []).append(distribution(lasted))
        found.histories[index] = process.sessions
        found.parts[index] = at_token.part_of(process)
        judged = check_process(process, known.get(index))
        logins[index] = judged.pop("login-per-process")
        for name, finding in judged.items():
            findings.setdefault(name, []).append(finding)
        fork_safe = fork_safe or declares_fork_safe(process)
        try:
            outputs = view.owners_outputs if index in owning else view.random_outputs
            outputs.append(randomness.collect(process))
        except Exception as problem:  # what cannot be looked at does not conform
            unseen = check_failed(problem)
        if handshakes:
            handshakes.calls(process)
        if record.traced or (record.server is not None and index in known):
            found.seen.append(traced.of_process(process, known[index]))
        strangers = bool(judged["own-handles"].count or judged["own-handles"].undefined)
        if use := uses.kept(process, foreign=strangers, keep_key_calls=record.server is not None):
            found.uses[index] = use
        last = process.last_row()
        view.last_calls[index] = LastCall(int(process.started_ns[last]), process.describe(last))
        del process, rows  # before the next process is loaded: never two at once
    if any(found.parts[index].logins for index in owning if index in found.parts):
        for index in logins.keys() - owning:
            logins[index] = of_one_application(logins[index])
            if index in found.uses:
                found.uses[index] = replace(found.uses[index], logged_in_already=None)
    findings["login-per-process"] = list(logins.values())
    if fork_safe:
        findings["initialize-per-process"] = [left_open(one) for one in findings["initialize-per-process"]]
    if unseen is not None:
        findings["unique-randomness"] = [unseen]
    found.durations = {function: merged(parts) for function, parts in sorted(durations.items())}
    found.owners_durations = {function: merged(parts) for function, parts in sorted(owners.items())}
    found.findings = {name: together(those) for name, those in findings.items()}
    return found


def _users(found: Mapping[int, SessionHistory], record: TrialRecord) -> dict[int, SessionHistory]:
    """Of those who use the token. Its owner, which is none of the trial's own processes, has each session once more."""
    known = {process.index: process for process in record.processes}
    return {
        index: history
        for index, history in found.items()
        if record.traced or index not in known or known[index].role != "other"
    }


def _at_token(record: TrialRecord, found: _FromCalls, sessions: SessionFacts) -> at_token.AtToken:
    """What the module saw: from its owner, where it has one and that was recorded, else from those who use it."""
    owned = {index: history for index, history in found.histories.items() if index in record.owning}
    if owned:
        sessions = _session_facts(owned, record)
    reach = owned or _users(found.histories, record)
    parts = [found.parts[index] for index in reach]
    return at_token.of_trial(record, parts, sessions.peak_total, found.owners_durations)


def _session_facts(histories: Mapping[int, SessionHistory], record: TrialRecord) -> SessionFacts:
    """Sessions of these processes. What a process leaves open is open until it ends, where that is known."""
    known = {process.index: process for process in record.processes}
    every = list(histories.values())
    ends = [
        (max(gone_ns, int(history.at_ns[-1])), history.leaked)
        for index, history in histories.items()
        if index in known and (gone_ns := known[index].gone_ns) is not None and history.leaked and history.at_ns.size
    ]
    at_ns, change = in_order(
        [*(history.at_ns for history in every), np.array([at for at, _ in ends], np.int64)],
        [*(history.change for history in every), np.array([-left for _, left in ends], np.int64)],
    )
    return SessionFacts(
        opened=sum(history.opened for history in every),
        closed=sum(history.closed for history in every),
        leaked=sum(history.leaked for history in every),
        peak_per_process=max((history.peak for history in every), default=0),
        peak_total=peak(at_ns, change),
        series={index: history.series() for index, history in histories.items() if history.opened},
    )
