"""initialize-per-process and login-per-process: a context that is the process's own.

Source: PKCS #11 v2.40 base specification 2.6 ("Applications and processes"; 6.6.1 in v2.20), 5.4 (C_Initialize), 5.6
(C_Login).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lab.analysis.calls import ProcessCalls
from lab.analysis.rules.finding import CONFORMS, NOT_EXERCISED, Finding, violation
from lab.record.dtypes import ENDED
from lab.record.names import FUNCTION_NUMBER, ckr_name

_ALREADY_LOGGED_IN: Final = 0x100
_ALREADY_INITIALIZED: Final = 0x191
_FORK_SAFE: Final = 1

# All others may answer CKR_CRYPTOKI_NOT_INITIALIZED (PKCS #11 v3.0 5.4).
_BEFORE_INITIALIZE: Final = ("C_Initialize", "C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface")

# C_Finalize before an own C_Initialize is a step of the policy `reinit`: it is noted, not counted.
_ALLOWED: Final = np.isin(
    np.arange(256),
    [0, *(FUNCTION_NUMBER[name] for name in (*_BEFORE_INITIALIZE, "C_Finalize"))],
)


def initialize_per_process(calls: ProcessCalls) -> Finding:
    """No call of a process before its own successful C_Initialize, nor after its C_Finalize.

    It is the caller's rule, so it is broken whatever the module answered; the evidence says what it answered.
    """
    count = 0
    first = -1
    answers: dict[int, int] = {}
    for stretch in calls.uninitialised:
        wrong = np.flatnonzero(~_ALLOWED[calls.function[stretch]])
        if not wrong.size:
            continue
        count += wrong.size
        rows = wrong + stretch.start
        first = int(rows[0]) if first < 0 else first
        codes, numbers = np.unique(calls.ckr[rows[calls.state[rows] == ENDED]], return_counts=True)
        for code, number in zip(codes.tolist(), numbers.tolist(), strict=True):
            answers[code] = answers.get(code, 0) + number
    note = _finalised_first(calls)
    if not count:
        return Finding(exercised=True, note=note)
    why = _never_initialised(calls) if first < calls.epochs[0].stop else "after its C_Finalize"
    told = ", ".join(
        f"{ckr_name(code)} to {number:,}" for code, number in sorted(answers.items(), key=lambda item: -item[1])[:3]
    )
    evidence = f"{calls.describe(first)}, {why}"
    if told:
        evidence += f" (to such calls of this process the module answered {told})"
    return violation(count, int(calls.started_ns[first]), evidence, note)


def declares_fork_safe(calls: ProcessCalls) -> bool:
    """Whether the module gave this process an interface with CKF_INTERFACE_FORK_SAFE (C_GetInterface's argument)."""
    rows = calls.rows_of("C_GetInterface")
    given = (calls.ckr[rows] == 0) & (calls.state[rows] == ENDED)
    return bool((calls.argument[rows][given] & _FORK_SAFE).any())


def left_open(finding: Finding) -> Finding:
    """The finding of initialize-per-process where the module declares itself safe under fork: v3.0 leaves it open."""
    if not finding.count:
        return finding
    why = f"the module declares CKF_INTERFACE_FORK_SAFE, so this is no violation: {finding.evidence}"
    return Finding(exercised=True, note=finding.note, undefined=why)


def of_one_application(finding: Finding) -> Finding:
    """The finding of login-per-process for a client of a program that owns the token, and that did log in.

    To the module the owner is the one application, and its login that of all its clients. The standard knows no such
    program, so for clients it leaves the rule open; the owner's own calls are judged as everybody's are.
    """
    if not finding.count:
        return finding
    why = f"the token's owner is one application to the module, whose login all its clients share: {finding.evidence}"
    return Finding(exercised=True, note=finding.note, undefined=why)


def login_per_process(calls: ProcessCalls) -> Finding:
    """No process is logged in that did not log in itself.

    The sign is CKR_USER_ALREADY_LOGGED_IN to the first C_Login of an epoch, unless another C_Login of the process,
    which succeeded, was under way at the same time: threads of one process share the login.
    """
    if not calls.rows_of("C_Login").size:
        return NOT_EXERCISED
    strange = strange_logins(calls)
    if not strange:
        return CONFORMS
    first = strange[0]
    own = "after its own C_Initialize" if first >= calls.epochs[0].stop else "and it never initialised"
    evidence = f"{calls.describe(first)}, was its first C_Login {own}: it was logged in without having logged in"
    return violation(len(strange), int(calls.started_ns[first]), evidence)


def strange_logins(calls: ProcessCalls) -> list[int]:
    """The rows that login_per_process() objects to, at most one an epoch."""
    logins = calls.rows_of("C_Login")
    strange = []
    for epoch in calls.epochs:
        mine = logins[(logins >= epoch.start) & (logins < epoch.stop)]
        if not mine.size:
            continue
        first = int(mine[0])
        if calls.ckr[first] != _ALREADY_LOGGED_IN or calls.state[first] != ENDED:
            continue
        done = (calls.ckr[mine] == 0) & (calls.state[mine] == ENDED)
        if not bool((done & (calls.started_ns[mine] < calls.ended_ns[first])).any()):
            strange.append(first)
    return strange


def _never_initialised(calls: ProcessCalls) -> str:
    tried = calls.rows_of("C_Initialize")
    if not tried.size:
        return "in a process that never called C_Initialize"
    if bool((calls.ckr[tried] == _ALREADY_INITIALIZED).any()):
        return "in a process whose C_Initialize answered CKR_CRYPTOKI_ALREADY_INITIALIZED"
    return "before a C_Initialize of its own had succeeded"


def _finalised_first(calls: ProcessCalls) -> str:
    finals = calls.rows_of("C_Finalize")
    early = finals[finals < calls.epochs[0].stop]
    if not early.size or len(calls.epochs) < 2:
        return ""
    return (
        f"process {calls.index} called C_Finalize before its own C_Initialize"
        f" ({ckr_name(int(calls.ckr[early[0]]))}): a step of the reload, not counted"
    )
