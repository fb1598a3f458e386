"""own-handles: a handle means something only in the process that obtained it, since its own C_Initialize.

Equal numbers in two processes prove nothing, so a handle is judged by who obtained it and when, never by its value.
Source: PKCS #11 v2.40 base specification 2.6 ("Applications and processes") and 2.6.6 (session and object handles).

Only the first of the objects that C_FindObjects found is in a row. In an epoch where a search returned more than one,
object handles are therefore not judged; session handles always are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis.calls import ProcessCalls, Rows
from lab.analysis.rules.finding import CONFORMS, NOT_EXERCISED, Finding, violation
from lab.record.names import FUNCTION_NUMBER

_GIVES_OBJECT: Final = (
    "C_CreateObject", "C_CopyObject", "C_GenerateKey", "C_GenerateKeyPair", "C_DeriveKey", "C_UnwrapKey",
)  # fmt: skip
_TAKES_OBJECT: Final = np.isin(
    np.arange(256),
    [
        FUNCTION_NUMBER[name]
        for name in (
            "C_SignInit", "C_SignRecoverInit", "C_VerifyInit", "C_VerifyRecoverInit", "C_EncryptInit", "C_DecryptInit",
            "C_DigestKey", "C_DestroyObject", "C_GetObjectSize", "C_GetAttributeValue", "C_SetAttributeValue",
            "C_WrapKey",
        )
    ],
)  # fmt: skip
_CHUNK_ROWS: Final = 1 << 20  # bounds the memory of the look-up


def own_handles(calls: ProcessCalls) -> Finding:
    """Calls that pass a session or an object that this process did not obtain in the same epoch before."""
    count = 0
    used = False
    first: tuple[int, str] | None = None
    for part in _parts(calls):
        used = used or part.used
        number = int(np.count_nonzero(part.wrong))
        count += number
        if number and first is None:
            place = int(np.argmax(part.wrong))
            first = (part.start + place, "session" if part.foreign[place] else "object")
    if not used:
        return NOT_EXERCISED
    if first is None:
        return CONFORMS
    return violation(count, int(calls.started_ns[first[0]]), _evidence(calls, *first))


def foreign_uses(calls: ProcessCalls) -> tuple[Rows, str]:
    """The rows that own_handles() objects to, and the first one as evidence ("" where there is none)."""
    found: list[Rows] = []
    evidence = ""
    for part in _parts(calls):
        rows: Rows = part.start + np.flatnonzero(part.wrong)
        if rows.size and not evidence:
            first = int(rows[0])
            evidence = _evidence(calls, first, "session" if part.foreign[first - part.start] else "object")
        found.append(rows)
    return np.concatenate([np.empty(0, np.intp), *found]), evidence


@dataclass(frozen=True)
class _Part:
    """Some rows from `start` on: which pass a foreign session, and which are wrong for whatever handle."""

    start: int
    foreign: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    used: bool  # whether any of them passes a session


def _parts(calls: ProcessCalls) -> Iterator[_Part]:
    for epoch in calls.epochs:
        sessions = _Obtained.of(calls, _sessions(calls, epoch))
        given, judged = _objects(calls, epoch)
        objects = _Obtained.of(calls, given) if judged else None
        for start in range(epoch.start, epoch.stop, _CHUNK_ROWS):
            part = slice(start, min(start + _CHUNK_ROWS, epoch.stop))
            session = calls.session[part]
            passes = (session != 0) & (calls.function[part] != FUNCTION_NUMBER["C_OpenSession"])
            foreign = passes & sessions.foreign(session, calls.started_ns[part])
            wrong = foreign
            if objects is not None:
                takes = (calls.object[part] != 0) & _TAKES_OBJECT[calls.function[part]]
                wrong = foreign | (takes & objects.foreign(calls.object[part], calls.started_ns[part]))
            yield _Part(start, foreign, wrong, bool(passes.any()))


def _evidence(calls: ProcessCalls, row: int, what: str) -> str:
    handle = int(calls.session[row] if what == "session" else calls.object[row])
    since = "since its own C_Initialize" if row >= calls.epochs[0].stop else "itself"
    return f"{calls.describe(row)}, used {what} handle {handle}, which this process had not obtained {since}"


class _Obtained:
    """Handles, ascending, with the time from which each was the process's own."""

    def __init__(self, handles: NDArray[np.uint64], since_ns: NDArray[np.int64]) -> None:
        self._handles, first = np.unique(handles, return_index=True)
        self._since_ns = since_ns[first]

    @staticmethod
    def of(calls: ProcessCalls, given: tuple[Rows, NDArray[np.uint64]]) -> _Obtained:
        rows, handles = given
        since_ns = calls.ended_ns[rows]
        order = np.argsort(since_ns, kind="stable")
        return _Obtained(handles[order], since_ns[order])

    def foreign(self, handles: NDArray[np.uint64], at_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which handles were not the process's own at that time."""
        if not self._handles.size:
            return np.ones(handles.size, dtype=bool)
        if self._handles.size == 1:
            one: NDArray[np.bool_] = (handles != self._handles[0]) | (at_ns < self._since_ns[0])
            return one
        place = np.searchsorted(self._handles, handles)
        place[place == self._handles.size] = 0
        wrong: NDArray[np.bool_] = (self._handles[place] != handles) | (at_ns < self._since_ns[place])
        return wrong


def _sessions(calls: ProcessCalls, epoch: slice) -> tuple[Rows, NDArray[np.uint64]]:
    rows = _within(calls.successes("C_OpenSession"), epoch)
    return rows, calls.session[rows]


def _objects(calls: ProcessCalls, epoch: slice) -> tuple[tuple[Rows, NDArray[np.uint64]], bool]:
    found = _within(calls.successes("C_FindObjects"), epoch)
    if bool((calls.argument[found] > 1).any()):
        return (found[:0], calls.object[found[:0]]), False
    found = found[calls.argument[found] == 1]
    rows, handles = [found], [calls.object[found]]
    for name in _GIVES_OBJECT:
        made = _within(calls.successes(name), epoch)
        rows.append(made)
        handles.append(calls.object[made])
        if name == "C_GenerateKeyPair":
            rows.append(made)
            handles.append(calls.argument[made])
    return (np.concatenate(rows), np.concatenate(handles)), True


def _within(rows: Rows, epoch: slice) -> Rows:
    inside: Rows = rows[(rows >= epoch.start) & (rows < epoch.stop)]
    return inside
