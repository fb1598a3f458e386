"""Named causes, found from the calls alone. Each is a Finding: how often, in how many processes, and the first as
evidence.

crash-without-locking   https://github.com/OpenSC/libp11/issues/500
inherited-handle        https://github.com/OpenSC/libp11/issues/195 and 245
inherited-login         p11-kit-proxy over SoftHSM: the proxy initialises afresh, and what is under it stays logged in
login-race              https://github.com/softhsm/SoftHSMv2/pull/578
                        https://github.com/opencryptoki/opencryptoki/issues/218
context-of-an-ancestor  https://bz.apache.org/bugzilla/show_bug.cgi?id=42688, of a master that became a daemon
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis.calls import Origin
from lab.analysis.lineage import Lineage
from lab.analysis.policy import kind_of
from lab.analysis.rules.endings import signal_name
from lab.analysis.rules.finding import CONFORMS, Finding, check_failed, together, violation
from lab.analysis.uses import NOT_RECOGNIZED, REFUSALS, ProcessUse, Times, told_answers
from lab.record.model import TrialRecord
from lab.record.names import ckr_name, function_name

NEAR_NS: Final = 50_000_000
"""A token that is not found so close to another process's C_Initialize or C_Login was hidden by it."""

_CRASHES: Final = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS))
_LOCKING: Final = {"null_argument": "a NULL argument", "no_flags": "no flags"}
_TOLD: Final = frozenset((0, *REFUSALS.tolist()))


def diagnose(record: TrialRecord, uses: Mapping[int, ProcessUse], origin: Origin) -> dict[str, Finding]:
    """The finding of each cause, by name; one whose check raised says so, and finds nothing."""
    lineage = Lineage(record, uses)
    found = {}
    for name, cause in CAUSES.items():
        try:
            found[name] = cause(record, uses, lineage, origin)
        except Exception as problem:  # a diagnosis must not cost the figures
            found[name] = check_failed(problem)
    return found


def to_json(by_trial: Iterable[tuple[int, Mapping[str, Finding]]]) -> dict[str, dict[str, Any]] | None:
    """The part of summary.json, over an arm's trials (number, findings); None where no trial had a call."""
    trials = [(number, findings) for number, findings in by_trial if findings]
    if not trials:
        return None
    summed = {}
    for name in CAUSES:
        mine = [(number, findings[name]) for number, findings in trials if name in findings]
        first = next(((number, finding) for number, finding in mine if finding.count), None)
        failed = next((finding.undefined for _, finding in mine if finding.undefined), None)
        summed[name] = {
            "count": sum(finding.count for _, finding in mine),
            "processes": sum(finding.processes for _, finding in mine),
            "evidence": f"trial {first[0]}, {first[1].evidence}" if first else failed,
        }
    return summed


def _crash_without_locking(
    record: TrialRecord, uses: Mapping[int, ProcessUse], lineage: Lineage, origin: Origin
) -> Finding:
    """Died of a memory fault, after its C_Initialize had declared no threads and its threads called at the same time.

    One that called no C_Initialize, or whose every one was refused, runs on what its ancestor declared.
    """
    found = []
    for process in record.processes:
        use = uses.get(process.index)
        if use is None or process.end != "signal" or process.status not in _CRASHES or not use.overlapping:
            continue
        asked, by = use, "its C_Initialize"
        if use.declared is None:
            ancestor = next((one for one in lineage.ancestors(process.index) if _declared(uses.get(one))), None)
            if ancestor is None:
                continue
            asked, by = uses[ancestor], f"the C_Initialize of its ancestor, process {ancestor},"
        if not asked.unlocked:
            continue
        evidence = (
            f"process {use.index} (pid {use.pid}) died of {signal_name(process.status)}: {by} was given"
            f" {_LOCKING.get(str(asked.declared), asked.declared)}, which says that there are no threads, and then"
            f" {use.overlapping:,} calls of its {use.threads} threads began while another thread was in one;"
            f" last call: {use.last_words}"
        )
        found.append(violation(1, use.last_ns, evidence))
    return together([CONFORMS, *found])


def _declared(use: ProcessUse | None) -> bool:
    return use is not None and use.declared is not None


def _inherited_handle(record: TrialRecord, uses: Mapping[int, ProcessUse], lineage: Lineage, origin: Origin) -> Finding:
    """A handle that the process had not obtained since its own C_Initialize, and what the module made of it."""
    found = []
    for use in uses.values():
        answers = {code: count for code, count in use.foreign_answers.items() if code in _TOLD}
        if use.foreign is None or not answers:
            continue
        if use.initialised_ns and use.initialised_ns[0] > use.foreign.at_ns:
            why = "it had not initialised yet"
        elif use.initialised_ns:
            why = "it is from before"
        else:
            why = f"its C_Initialize answered {use.tried}" if use.tried else "it never called C_Initialize"
        evidence = f"{use.foreign.evidence} ({why}); such calls of this process were answered {told_answers(answers)}"
        found.append(violation(sum(answers.values()), use.foreign.at_ns, evidence))
    return together([CONFORMS, *found])


def _inherited_login(record: TrialRecord, uses: Mapping[int, ProcessUse], lineage: Lineage, origin: Origin) -> Finding:
    """Logged in after a C_Initialize of its own, without having logged in."""
    found = []
    for use in uses.values():
        sign = use.logged_in_already
        if sign is None and any(uses[one].logins for one in lineage.ancestors(use.index) if one in uses):
            sign = use.signed_without_login
        if sign is not None:
            evidence = f"{sign.evidence}: the login is one that it inherited"
            found.append(violation(sign.count, sign.at_ns, evidence))
    return together([CONFORMS, *found])


def _login_race(record: TrialRecord, uses: Mapping[int, ProcessUse], lineage: Lineage, origin: Origin) -> Finding:
    """The token was not found while another process was in C_Initialize or C_Login, or near it.

    Whoever missed it then misses it until its next C_Initialize: all its tries from then on count.
    """
    entering = [use for use in uses.values() if use.entering[0].size]
    begins = np.concatenate([np.empty(0, np.int64), *(use.entering[0] for use in entering)])
    ends = np.concatenate([np.empty(0, np.int64), *(use.entering[1] for use in entering)])
    whose = np.concatenate([np.empty(0, np.int64), *(np.full(use.entering[0].size, use.index) for use in entering)])
    begun, over = np.sort(begins), np.sort(ends)
    views = {True: _View(), False: _View()}
    for use in uses.values():
        view = views[_outside(lineage, use)]
        view.most_slots = max(view.most_slots, use.most_slots)
        view.opened |= use.opened
    found = []
    for use in uses.values():
        view = views[_outside(lineage, use)]
        missed = np.flatnonzero(_missed(use, view))
        since, until = use.not_found.started_ns[missed] - NEAR_NS, use.not_found.ended_ns[missed] + NEAR_NS
        others = _under_way(begun, over, since, until)
        others -= _under_way(np.sort(use.entering[0]), np.sort(use.entering[1]), since, until)
        near = np.flatnonzero(others > 0)
        if not near.size:
            continue
        epoch = use.not_found.epoch[missed]
        epochs, first = np.unique(epoch[near], return_index=True)
        count = int((np.searchsorted(epoch, epochs, "right") - near[first]).sum())
        row = int(missed[near[0]])
        start_ns, end_ns = int(use.not_found.started_ns[row]), int(use.not_found.ended_ns[row])
        apart = np.where(whose == use.index, np.iinfo(np.int64).max, np.maximum(begins - end_ns, start_ns - ends))
        other = int(whose[np.argmin(apart)])
        found.append(violation(count, start_ns, _race(use, row, other, view.most_slots, origin)))
    return together([CONFORMS, *found])


@dataclass
class _View:
    """What the processes saw of the module whose tap they share."""

    most_slots: int = 0
    opened: frozenset[int] = frozenset()  # slots that have the token


def _missed(use: ProcessUse, view: _View) -> NDArray[np.bool_]:
    """Which rows of use.not_found say that the token was hidden.

    Lists with and without empty slots have different lengths, and the calls do not tell which was asked for. So a
    short list counts only where the process went on to ask about the tokens, and about none that anybody used.
    """
    calls = use.not_found
    known = np.isin(calls.argument, np.array(sorted(view.opened), np.uint64))
    missed: NDArray[np.bool_] = (calls.ckr != 0) & ((calls.ckr != NOT_RECOGNIZED) | known)
    for row in np.flatnonzero(calls.ckr == 0).tolist():  # one for each C_Initialize at most
        asked, slots = calls.asked[int(calls.epoch[row])], int(calls.argument[row])
        missed[row] = slots == 0 or (slots < view.most_slots and bool(asked) and not asked & view.opened)
    return missed


def _under_way(begins: Times, ends: Times, since_ns: Times, until_ns: Times) -> NDArray[np.intp]:
    """How many of some calls were under way at any time from since_ns until until_ns. begins, ends: each ascending."""
    under_way: NDArray[np.intp] = np.searchsorted(begins, until_ns, "right") - np.searchsorted(ends, since_ns, "left")
    return under_way


def _outside(lineage: Lineage, use: ProcessUse) -> bool:
    """Whether its tap may lie above another module than the others' do, so that its slots are not theirs."""
    process = lineage.record(use.index)
    return process is None or process.role == "other"


def _race(use: ProcessUse, row: int, other: int, most: int, origin: Origin) -> str:
    calls = use.not_found
    answer, slots = ckr_name(int(calls.ckr[row])), int(calls.argument[row])
    if calls.ckr[row] == 0:
        answer = f"{answer} with {slots} slots (others saw {most})" if slots else f"{answer} with no slot"
    return (
        f"process {use.index} (pid {use.pid}), thread {int(calls.tid[row])}:"
        f" {function_name(int(calls.function[row]))} answered {answer},"
        f" {origin.when(int(calls.started_ns[row]))}, while process {other} was in C_Initialize or C_Login, or within"
        f" {NEAR_NS // 1_000_000} ms of it"
    )


def _context_of_an_ancestor(
    record: TrialRecord, uses: Mapping[int, ProcessUse], lineage: Lineage, origin: Origin
) -> Finding:
    """A real server's master that uses the token with the context of a process that is gone."""
    found = []
    for process in lineage.server:
        use = uses.get(process.index)
        if use is None or not lineage.is_master(process.index) or use.first_use_ns is None:
            continue
        if kind_of(use, True) != "inherited" or not use.well_before:
            continue
        parent = lineage.initialised_ancestor(process.index)
        if parent is not None and uses[parent].last_ns > use.first_use_ns:
            continue  # it lives: a worker that has children, not a daemon
        whose = "a parent that is gone"
        if parent is not None:
            whose = f"its parent, process {parent} (pid {uses[parent].pid}), whose last call was"
            whose += f" {origin.when(uses[parent].last_ns)}"
        evidence = (
            f"process {use.index} (pid {use.pid}), the server's master, made {use.well_before:,} calls that were"
            f" answered CKR_OK before any C_Initialize of its own had succeeded, the first"
            f" {origin.when(use.first_use_ns)}: the context is that of {whose}"
        )
        found.append(violation(use.well_before, use.first_use_ns, evidence))
    return together([CONFORMS, *found])


Cause = Callable[[TrialRecord, Mapping[int, ProcessUse], Lineage, Origin], Finding]

CAUSES: Final[dict[str, Cause]] = {
    "crash-without-locking": _crash_without_locking,
    "inherited-handle": _inherited_handle,
    "inherited-login": _inherited_login,
    "login-race": _login_race,
    "context-of-an-ancestor": _context_of_an_ancestor,
}
"""Causes by the name that summary.json gives them."""
