"""What one process made of the library: the little that is kept of its calls once its rows have left the memory.

Policy (policy.py), diagnosis (diagnosis.py) and restarts (restarts.py) are judged from it, when all processes of a
trial are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis import cold
from lab.analysis.calls import ProcessCalls, Rows
from lab.analysis.rules import handles
from lab.analysis.rules.context import strange_logins
from lab.analysis.traced import NO_USE
from lab.record.dtypes import ENDED, LOCKING
from lab.record.names import FUNCTION_NUMBER, FUNCTIONS, ckr_name, ckr_number

Times = NDArray[np.int64]

_CHANGED_BY_TAP: Final = 128
_UNDECLARED: Final = (LOCKING["null_argument"], LOCKING["no_flags"])
_NEVER: Final = np.iinfo(np.int64).max


def _codes(*names: str) -> NDArray[np.uint32]:
    return np.array([ckr_number(name) for name in names], np.uint32)


REFUSALS: Final = _codes(
    "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_SESSION_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID"
)
"""How a module refuses a context or a handle that is not the process's own."""

_NO_TOKEN: Final = _codes("CKR_SLOT_ID_INVALID", "CKR_TOKEN_NOT_PRESENT", "CKR_GENERAL_ERROR")
NOT_RECOGNIZED: Final = ckr_number("CKR_TOKEN_NOT_RECOGNIZED")
"""Also what SoftHSM answers for its empty slot, always: it says something of a slot that has the token only."""
_LOGGED_IN: Final = np.array([0, ckr_number("CKR_USER_ALREADY_LOGGED_IN")], np.uint32)


def _functions(*names: str) -> NDArray[np.bool_]:
    return np.isin(np.arange(256), [FUNCTION_NUMBER[name] for name in names])


_IS_USE: Final = ~np.isin(np.arange(256), [0, *NO_USE, FUNCTION_NUMBER["C_Finalize"]])
_CLOSES: Final = _functions("C_CloseSession", "C_CloseAllSessions")  # tidying up what was inherited uses no key
_KEY: Final = _functions(*(name for name in FUNCTIONS if name.startswith(("C_Sign", "C_Decrypt"))))
_KEY_DONE: Final = _KEY & ~_functions(*(name for name in FUNCTIONS if name.endswith("Init")))
_FINDS_TOKEN: Final = _functions("C_GetSlotList", "C_GetTokenInfo", "C_OpenSession", "C_Login")
_OF_SLOT: Final = _functions("C_GetTokenInfo", "C_OpenSession")  # their argument is the slot
_ANSWERS_SHOWN: Final = 3


@dataclass(frozen=True)
class Sign:
    """How often something was seen, and its first time as evidence."""

    count: int
    at_ns: int
    evidence: str


@dataclass(frozen=True)
class NotFound:
    """Calls of a process that was looking for its token and did not find it, ascending in start; one row each.

    ckr 0: a slot list after which no session was opened. Columns, as there may be one per failed handshake.
    """

    function: NDArray[np.uint8]
    ckr: NDArray[np.uint32]
    argument: NDArray[np.uint64]  # the slot, or how many slots were listed
    tid: NDArray[np.uint32]
    started_ns: Times
    ended_ns: Times
    epoch: NDArray[np.intp]  # the context of the process in which it looked
    asked: Mapping[int, frozenset[int]]  # by epoch with a slot list: the slots whose token it asked about


@dataclass(frozen=True)
class ProcessUse:
    """One process's calls in short. Times are ns of CLOCK_MONOTONIC."""

    index: int
    pid: int
    first_ns: int
    last_ns: int  # the latest start or end of a call
    uses: int  # calls that use the library: all but C_Initialize, C_Finalize and asking for the function list
    initialised_ns: tuple[int, ...]  # start of each C_Initialize of its own that succeeded
    tried: str  # what its C_Initialize answered where none succeeded; "" where it called none
    first_use_ns: int | None
    well_before: int  # uses before the first that were answered CKR_OK
    handled_before: int  # of these, with a session that it could only have inherited; closing it does not count
    refused: int  # uses answered with a code of REFUSALS
    succeeded: bool  # a key was used with success, or, where it tried none, a session
    logins: int
    first_key_ns: int | None  # end of its first successful operation with a key
    declared: str | None  # locking of its last C_Initialize that was not refused (a name of LOCKING); None: no such
    unlocked: bool  # and whether the module was told that there are no threads
    overlapping: int  # calls since its first C_Initialize that began while another thread was in one
    threads: int
    last_words: str  # the call that it was in when it ended, or its last
    foreign: Sign | None  # handles that it used and had not obtained
    foreign_answers: Mapping[int, int]  # by CKR code
    logged_in_already: Sign | None  # CKR_USER_ALREADY_LOGGED_IN to its first C_Login after a C_Initialize of its own
    signed_without_login: Sign | None  # after a C_Initialize of its own
    not_found: NotFound = field(repr=False)
    most_slots: int
    opened: frozenset[int]  # slots on which it opened a session
    entering: tuple[Times, Times] = field(repr=False)  # begin and end of each C_Initialize and C_Login
    key_calls: tuple[Times, Times] = field(repr=False)  # begin and end of each operation with a key; empty if not kept
    cold: Mapping[str, float] = field(default_factory=dict)


def kept(calls: ProcessCalls, foreign: bool, keep_key_calls: bool) -> ProcessUse | None:
    """of_process(), and None where the rows are too odd for it: what cannot be told costs no figure."""
    try:
        return of_process(calls, foreign, keep_key_calls)
    except (ValueError, IndexError, KeyError, ArithmeticError):
        return None


def of_process(calls: ProcessCalls, foreign: bool, keep_key_calls: bool) -> ProcessUse:
    """The use of one process. foreign: whether own-handles found something, so that a second look is worth it."""
    function, ended = calls.function, calls.state == ENDED
    well = ended & (calls.ckr == 0)
    use = _IS_USE[function]
    handled = use & (calls.session != 0) & ~_CLOSES[function] & (function != FUNCTION_NUMBER["C_OpenSession"])
    own = calls.successes("C_Initialize")
    before = calls.epochs[0] if own.size else slice(0, len(calls))
    tried = calls.rows_of("C_Initialize")
    keyed = _KEY[function] & use
    done = np.flatnonzero(_KEY_DONE[function] & well)
    used = np.flatnonzero(use)
    declared, unlocked = _declared(calls, tried)
    overlapping, threads = _overlapping(calls, int(tried[0]) if tried.size else 0)
    strangers, answers = _foreign(calls) if foreign else (None, {})
    entering = np.sort(np.concatenate([tried, calls.rows_of("C_Login")]))
    keys = np.flatnonzero(_KEY_DONE[function]) if keep_key_calls else done[:0]
    return ProcessUse(
        index=calls.index,
        pid=calls.pid,
        first_ns=int(calls.started_ns[0]),
        last_ns=int(max(calls.started_ns.max(), calls.ended_ns.max())),
        uses=int(used.size),
        initialised_ns=tuple(calls.started_ns[own].tolist()),
        tried=ckr_name(int(calls.ckr[tried[-1]])) if tried.size and not own.size else "",
        first_use_ns=int(calls.started_ns[used[0]]) if used.size else None,
        well_before=int(np.count_nonzero((use & well)[before])),
        handled_before=int(np.count_nonzero((handled & well)[before])),
        refused=int(np.count_nonzero(use & ended & np.isin(calls.ckr, REFUSALS))),
        succeeded=bool(done.size) if keyed.any() else bool((handled & well).any()),
        logins=int(calls.successes("C_Login").size),
        first_key_ns=int(calls.ended_ns[done].min()) if done.size else None,
        declared=declared,
        unlocked=unlocked,
        overlapping=overlapping,
        threads=threads,
        last_words=calls.describe(calls.last_row()),
        foreign=strangers,
        foreign_answers=answers,
        logged_in_already=_logged_in_already(calls),
        signed_without_login=_signed_without_login(calls, done),
        not_found=_not_found(calls),
        most_slots=_most_slots(calls),
        opened=frozenset(np.unique(calls.argument[calls.successes("C_OpenSession")]).tolist()),
        entering=(calls.started_ns[entering], _ends(calls, entering)),
        key_calls=(calls.started_ns[keys], _ends(calls, keys)),
        cold=cold.of_calls(calls),
    )


def _ends(calls: ProcessCalls, rows: Rows) -> Times:
    """When calls ended; one that never returned did so at the end of time."""
    ends: Any = np.where(calls.state[rows] == ENDED, calls.ended_ns[rows], _NEVER)
    return ends  # type: ignore[no-any-return]


def _declared(calls: ProcessCalls, tried: Rows) -> tuple[str | None, bool]:
    """The locking that took effect: of its last C_Initialize that was not refused."""
    held = tried[(calls.ckr[tried] == 0) | (calls.state[tried] != ENDED)]
    if not held.size:
        return None, False
    number = int(calls.locking[held[-1]])
    asked = number % _CHANGED_BY_TAP
    name = next((name for name, known in LOCKING.items() if known == asked), str(asked))
    return name, asked in _UNDECLARED and number < _CHANGED_BY_TAP


def _overlapping(calls: ProcessCalls, first: int) -> tuple[int, int]:
    """Calls from row `first` on that began while another thread was in one, and how many threads there are."""
    threads = int(np.unique(calls.tid[first:]).size)
    if threads < 2:
        return 0, threads
    ends = _ends(calls, np.arange(first, len(calls)))
    return int(np.count_nonzero(calls.started_ns[first + 1 :] < np.maximum.accumulate(ends)[:-1])), threads


def _foreign(calls: ProcessCalls) -> tuple[Sign | None, dict[int, int]]:
    rows, evidence = handles.foreign_uses(calls)
    if not rows.size:
        return None, {}
    answered = rows[calls.state[rows] == ENDED]
    codes, counts = np.unique(calls.ckr[answered], return_counts=True)
    answers = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    return Sign(int(rows.size), int(calls.started_ns[rows[0]]), evidence), answers


def _logged_in_already(calls: ProcessCalls) -> Sign | None:
    rows = [row for row in strange_logins(calls) if row >= calls.epochs[0].stop]
    if not rows or len(calls.epochs) < 2:
        return None
    evidence = f"{calls.describe(rows[0])}, was its first C_Login after its own C_Initialize"
    return Sign(len(rows), int(calls.started_ns[rows[0]]), evidence)


def _signed_without_login(calls: ProcessCalls, done: Rows) -> Sign | None:
    """Operations with a key in an epoch of the process's own in which no C_Login had been answered."""
    logins = np.concatenate([calls.rows_of("C_Login"), calls.rows_of("C_LoginUser")])
    found = []
    for epoch in calls.epochs[1:]:
        mine = done[(done >= epoch.start) & (done < epoch.stop)]
        if mine.size and not ((logins >= epoch.start) & (logins < epoch.stop)).any():
            found.append(mine)
    if not found:
        return None
    first = int(found[0][0])
    evidence = f"{calls.describe(first)}, used the key after its own C_Initialize and without a C_Login"
    return Sign(sum(rows.size for rows in found), int(calls.started_ns[first]), evidence)


def _not_found(calls: ProcessCalls) -> NotFound:
    """Calls on the way to the token that failed for want of it, and slot lists after which no session was opened.

    In each epoch only those before the first C_Login or use of a key that went well: then it had found its token.
    """
    starts = np.array([epoch.start for epoch in calls.epochs], np.intp)
    no_token = np.isin(calls.ckr, _NO_TOKEN) | (_OF_SLOT[calls.function] & (calls.ckr == NOT_RECOGNIZED))
    wrong = np.flatnonzero(_FINDS_TOKEN[calls.function] & (calls.state == ENDED) & no_token)
    lists = calls.successes("C_GetSlotList")
    if lists.size:
        # The last list before each search ends: the next C_Initialize, or the end of the calls.
        edges = np.append(np.sort(calls.rows_of("C_Initialize")), len(calls))
        stretch = np.searchsorted(edges, lists)
        lists = lists[np.append(stretch[1:] != stretch[:-1], True)]
        opened = calls.successes("C_OpenSession")
        until = edges[np.searchsorted(edges, lists)]
        lists = lists[np.searchsorted(opened, lists) == np.searchsorted(opened, until)]
    rows = np.sort(np.concatenate([wrong, lists]))
    epoch = np.searchsorted(starts, rows, "right") - 1
    login = calls.rows_of("C_Login")
    login = login[(calls.state[login] == ENDED) & np.isin(calls.ckr[login], _LOGGED_IN)]
    key = np.flatnonzero(_KEY[calls.function] & (calls.state == ENDED) & (calls.ckr == 0))
    finds = np.sort(np.concatenate([login, key]))
    whose, first = np.unique(np.searchsorted(starts, finds, "right") - 1, return_index=True)
    found = np.full(starts.size, len(calls), np.intp)
    found[whose] = finds[first]
    looking = rows < found[epoch]
    rows, epoch = rows[looking], epoch[looking]
    info = calls.rows_of("C_GetTokenInfo")
    asked = {
        one: frozenset(np.unique(calls.argument[_within(info, calls.epochs[one])]).tolist())
        for one in np.unique(epoch[calls.ckr[rows] == 0]).tolist()
    }
    return NotFound(
        function=calls.function[rows],
        ckr=calls.ckr[rows],
        argument=calls.argument[rows],
        tid=calls.tid[rows],
        started_ns=calls.started_ns[rows],
        ended_ns=calls.ended_ns[rows],
        epoch=epoch,
        asked=asked,
    )


def _within(rows: Rows, epoch: slice) -> Rows:
    first, last = np.searchsorted(rows, (epoch.start, epoch.stop))
    return rows[first:last]


def _most_slots(calls: ProcessCalls) -> int:
    lists = calls.successes("C_GetSlotList")
    return int(calls.argument[lists].max()) if lists.size else 0


def told_answers(answers: Mapping[int, int]) -> str:
    """The most frequent answers in words: "CKR_OK to 12, CKR_KEY_HANDLE_INVALID to 3"."""
    common = sorted(answers.items(), key=lambda item: -item[1])[:_ANSWERS_SHOWN]
    return ", ".join(f"{ckr_name(code)} to {number:,}" for code, number in common)
