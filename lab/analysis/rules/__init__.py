"""The rules that a run is checked against (DESIGN section 7): two tables, by name, of functions that give Findings.

Rules over the calls of one process are applied while that process's rows are in memory; rules over a trial get what was
kept of all its processes. A rule that raises gives a Finding that says so, and never one that conforms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from lab.analysis.calls import Origin, ProcessCalls
from lab.analysis.rules import context, endings, handles, randomness, threads
from lab.analysis.rules.finding import Finding, check_failed, together
from lab.record.model import ProcessRecord, TrialRecord


@dataclass
class TrialView:
    """What rules over a whole trial see, gathered process by process."""

    record: TrialRecord
    origin: Origin
    last_calls: dict[int, endings.LastCall] = field(default_factory=dict)
    parent_checks: list[endings.ParentCheck] = field(default_factory=list)
    random_outputs: list[randomness.RandomOutputs] = field(default_factory=list)
    owners_outputs: list[randomness.RandomOutputs] = field(default_factory=list)  # of programs that own the token


ProcessRule = Callable[[ProcessCalls, ProcessRecord | None], Finding]
TrialRule = Callable[[TrialView], Finding]

PROCESS_RULES: Final[dict[str, ProcessRule]] = {
    "initialize-per-process": lambda calls, record: context.initialize_per_process(calls),
    "own-handles": lambda calls, record: handles.own_handles(calls),
    "login-per-process": lambda calls, record: context.login_per_process(calls),
    "one-thread-per-session": lambda calls, record: threads.one_thread_per_session(calls),
    "locking-declared": lambda calls, record: threads.locking_declared(calls),
    "sessions-closed": endings.sessions_closed,
}

TRIAL_RULES: Final[dict[str, TrialRule]] = {
    "unique-randomness": lambda view: randomness.seen_by_either(
        together(randomness.unique_randomness(view.random_outputs)),
        together(randomness.unique_randomness(view.owners_outputs)),
    ),
    "parent-unharmed": lambda view: endings.parent_unharmed(view.record, view.parent_checks, view.origin),
    "no-crash": lambda view: endings.no_crash(view.record, view.last_calls),
    "no-hang": lambda view: endings.no_hang(view.record, view.last_calls),
}

RULES: Final = (
    "initialize-per-process", "own-handles", "login-per-process", "one-thread-per-session", "locking-declared",
    "unique-randomness", "sessions-closed", "parent-unharmed", "no-crash", "no-hang",
)  # fmt: skip


def check_process(
    calls: ProcessCalls, record: ProcessRecord | None, rules: Mapping[str, ProcessRule] = PROCESS_RULES
) -> dict[str, Finding]:
    """Each process rule's finding for one process. `record`: None for a process that only the tap saw."""
    findings = {}
    for name, rule in rules.items():
        try:
            findings[name] = rule(calls, record)
        except Exception as problem:  # whatever a check trips over must not look like conformance
            findings[name] = check_failed(problem)
    return findings


def check_trial(view: TrialView, rules: Mapping[str, TrialRule] = TRIAL_RULES) -> dict[str, Finding]:
    """Each trial rule's finding."""
    findings = {}
    for name, rule in rules.items():
        try:
            findings[name] = rule(view)
        except Exception as problem:  # as above
            findings[name] = check_failed(problem)
    return findings
