"""sessions-closed, parent-unharmed, no-crash, no-hang: how processes leave, and what they leave behind."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.analysis.calls import Origin, ProcessCalls
from lab.analysis.rules.finding import CONFORMS, NOT_EXERCISED, Finding, violation
from lab.record import columns
from lab.record.model import ProcessRecord, TrialRecord
from lab.record.names import ckr_name, function_name


@dataclass(frozen=True)
class LastCall:
    """The call that a process was in when it ended, or its last one."""

    at_ns: int
    text: str


@dataclass(frozen=True)
class ParentCheck:
    """An operation of the parent in its own context after all children had ended."""

    outcome: int
    code: int
    function: int
    tid: int
    at_ns: int


def signal_name(number: int) -> str:
    """SIGSEGV and so on; a number where this system has no name for it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def sessions_closed(calls: ProcessCalls, record: ProcessRecord | None) -> Finding:
    """As many sessions closed as opened; C_Finalize closes. A process that crashed leaks too, and a note says so.

    One that the lab itself cut off had no occasion to close any.
    """
    sessions = calls.sessions
    if not sessions.opened or (record is not None and record.end == "cut-off"):
        return NOT_EXERCISED
    if sessions.leaked_row is None:
        return CONFORMS
    row = int(calls.successes("C_OpenSession")[sessions.leaked_row])
    evidence = (
        f"{calls.describe(row)}, opened session {int(calls.session[row])}, which was never closed"
        f" (this process opened {sessions.opened:,}, closed {sessions.closed:,})"
    )
    note = ""
    if record is not None and record.end not in ("exit", "unknown"):
        note = f"process {record.index} did not end by itself: {_end(record)}"
    return violation(sessions.leaked, int(calls.started_ns[row]), evidence, note)


def parent_unharmed(record: TrialRecord, checks: Iterable[ParentCheck], origin: Origin) -> Finding:
    """The parent's operation after its children had ended must end well; none of them means not exercised."""
    done = list(checks)
    broken = [check for check in done if check.outcome != columns.OK]
    if not broken:
        return CONFORMS if done else NOT_EXERCISED
    first = broken[0]
    pid = next((process.pid for process in record.processes if process.index == 0), 0)
    answer = "never ended" if first.outcome == columns.INFO else f"failed with {ckr_name(first.code)}"
    evidence = (
        f"process 0 (pid {pid}), thread {first.tid}: after all children had ended, the parent's own operation {answer}"
        f" in {function_name(first.function)}, {origin.when(first.at_ns)}"
    )
    return violation(len(broken), first.at_ns, evidence)


def no_crash(record: TrialRecord, last_calls: Mapping[int, LastCall]) -> Finding:
    """No process ended by a signal that the lab did not send. A generator is the lab's own and breaks no rule."""
    return _ended(record, last_calls, "signal")


def no_hang(record: TrialRecord, last_calls: Mapping[int, LastCall]) -> Finding:
    """No process had to be ended because it did not come back."""
    return _ended(record, last_calls, "hang")


def _ended(record: TrialRecord, last_calls: Mapping[int, LastCall], end: str) -> Finding:
    started = [
        process for process in record.processes if process.end != "never-started" and process.role != "generator"
    ]
    ended = [process for process in started if process.end == end and not record.killed_by_wish(process)]
    if not started:
        return NOT_EXERCISED
    if not ended:
        return CONFORMS
    first = ended[0]
    last = last_calls.get(first.index)
    evidence = f"process {first.index} (pid {first.pid}) {_end(first)}"
    if first.last_call:
        evidence += f" in or after {first.last_call}"
    if last:
        evidence += f"; last call: {last.text}"
    if first.stack:
        evidence += f"; stacks in {first.stack}"
    return violation(len(ended), last.at_ns if last else 0, evidence, processes=len(ended))


def _end(record: ProcessRecord) -> str:
    if record.end == "signal":
        return f"died of {signal_name(record.status)}"
    return {
        "exit": f"exited with status {record.status}",
        "hang": "hung",
        "cut-off": "was cut off",
        "root-died": "was ended because the trial root had died",
        "never-started": "never started",
        "unknown": "ended unseen",
    }[record.end]
