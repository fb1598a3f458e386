"""one-thread-per-session and locking-declared: what threads of one process may do at once.

Source: PKCS #11 v2.40 base specification 2.6.7 (a session is used by one thread at a time) and 5.4 (C_Initialize:
without CKF_OS_LOCKING_OK or mutex functions the application promises not to use the library from several threads).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis.calls import ProcessCalls
from lab.analysis.rules.finding import CONFORMS, NOT_EXERCISED, Finding, violation
from lab.record.dtypes import ENDED, LOCKING
from lab.record.names import FUNCTION_NUMBER, function_name

_CHANGED_BY_TAP: Final = 128
_UNDECLARED: Final = (LOCKING["null_argument"], LOCKING["no_flags"])

# A handle that C_OpenSession returns was not in use by it; the legacy pair exists to be called beside another.
_NOT_A_USE: Final = np.isin(
    np.arange(256), [FUNCTION_NUMBER[name] for name in ("C_OpenSession", "C_GetFunctionStatus", "C_CancelFunction")]
)


def one_thread_per_session(calls: ProcessCalls) -> Finding:
    """Calls that began while another thread's call of the same session was under way.

    Rows of a shared session are ordered by start. A call overlaps an earlier one exactly when it starts before the
    latest end so far; that earlier call is another thread's, because a thread is in one call at a time.
    C_CloseSession counts as over when it starts, since a module may give the number away again before it returns.
    """
    if calls.one_thread:
        return NOT_EXERCISED
    uses = np.flatnonzero((calls.session != 0) & ~_NOT_A_USE[calls.function])
    tid = calls.tid[uses]
    if not uses.size or bool((tid == tid[0]).all()):
        return NOT_EXERCISED
    code, sessions = _numbered(calls.session[uses])
    someone = np.zeros(sessions, dtype=np.uint32)
    someone[code] = tid
    shared = np.zeros(sessions, dtype=bool)
    shared[code[tid != someone[code]]] = True
    chosen = shared[code]
    if not bool(chosen.any()):
        return CONFORMS
    uses, code = uses[chosen], code[chosen]
    order = np.argsort(code, kind="stable")
    uses, code = uses[order], code[order]
    late = _overlaps(calls, uses, code)
    if not late.size:
        return CONFORMS
    first = int(late[np.argmin(calls.started_ns[uses[late]])])
    row, other = int(uses[first]), int(uses[first - 1])
    evidence = (
        f"{calls.describe(row)}, used session {int(calls.session[row])} while thread {int(calls.tid[other])}"
        f" was in {function_name(int(calls.function[other]))} with it"
    )
    return violation(late.size, int(calls.started_ns[row]), evidence)


def locking_declared(calls: ProcessCalls) -> Finding:
    """Calls from a second thread after a C_Initialize that declared no threads.

    Judged by what the caller asked for, also where the tap declared OS locking in its place.
    """
    inits = calls.successes("C_Initialize")
    inits = inits[np.argsort(calls.ended_ns[inits], kind="stable")]
    count = overlapping = 0
    first = -1
    exercised = False
    note = ""
    for init, epoch in zip(inits, calls.epochs[1:], strict=True):
        locking = int(calls.locking[init])
        if locking % _CHANGED_BY_TAP not in _UNDECLARED:
            tid = calls.tid[epoch]
            exercised |= bool((tid != tid[:1]).any())  # it has threads, and had said so
            continue
        exercised = True
        if locking >= _CHANGED_BY_TAP:
            note = "the tap declared OS locking instead"
        tid = calls.tid[epoch]
        others = np.flatnonzero(tid != tid[0]) if tid.size else np.empty(0, np.intp)
        if not others.size:
            continue
        count += others.size
        overlapping += _overlapping(calls, epoch)
        first = int(others[0]) + epoch.start if first < 0 else first
    if not count:
        return Finding(exercised, note=note if exercised else "")
    argument = "NULL" if int(calls.locking[inits[-1]]) % _CHANGED_BY_TAP == LOCKING["null_argument"] else "no flags"
    evidence = (
        f"{calls.describe(first)}, came from a second thread although C_Initialize was given {argument};"
        f" {overlapping:,} calls of this process began while another thread was in one"
    )
    return violation(count, int(calls.started_ns[first]), evidence, note)


def _numbered(session: NDArray[np.uint64]) -> tuple[NDArray[Any], int]:
    """Sessions as small numbers; handles that lie together, as most modules give them out, need no sorting."""
    low = int(session.min())
    span = int(session.max()) - low + 1
    if span <= 1 << 16:
        return (session - np.uint64(low)).astype(np.uint16), span
    known, code = np.unique(session, return_inverse=True)
    return code, known.size


def _overlaps(calls: ProcessCalls, uses: NDArray[Any], code: NDArray[Any]) -> NDArray[np.intp]:
    """Places in `uses` (grouped by code, in it ascending in start) of calls that start before an earlier one's end."""
    base = int(calls.started_ns[0])
    started = calls.started_ns[uses] - base
    ended = calls.ended_ns[uses] - base
    span = int(max(started.max(), ended.max())) + 1
    ended[calls.state[uses] != ENDED] = span
    closing = calls.function[uses] == FUNCTION_NUMBER["C_CloseSession"]
    ended[closing] = started[closing]
    # A group's times are shifted above all of the group before, so that one running maximum serves all groups.
    shift = np.cumsum(np.concatenate([[0], code[1:] != code[:-1]])).astype(np.int64) * (span + 1)
    latest = np.maximum.accumulate(ended + shift)
    return np.flatnonzero(started[1:] + shift[1:] < latest[:-1]) + 1


def _overlapping(calls: ProcessCalls, epoch: slice) -> int:
    ended = np.where(calls.state[epoch] == ENDED, calls.ended_ns[epoch], np.iinfo(np.int64).max)
    return int(np.count_nonzero(calls.started_ns[epoch][1:] < np.maximum.accumulate(ended)[:-1]))
