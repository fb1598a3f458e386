"""What each process of a traced program did with PKCS#11: how it came by its context, its calls and its sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from lab.analysis.calls import ProcessCalls
from lab.analysis.failures import Failure
from lab.record.dtypes import ENDED, LOCKING
from lab.record.model import ProcessRecord
from lab.record.names import FUNCTION_NUMBER, ckr_name, function_name

_CHANGED_BY_TAP: Final = 128
_LOCKING_NAME: Final = {number: name for name, number in LOCKING.items()}

# Asking for these is no use of the library, so it says nothing of whose context it was.
NO_USE: Final = [
    FUNCTION_NUMBER[name] for name in ("C_Initialize", "C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface")
]


@dataclass(frozen=True)
class Initialised:
    """Calls of C_Initialize that asked alike and were answered alike. locking: a name of rows.def's LOCKING."""

    locking: str
    answer: str
    count: int
    changed_by_tap: bool


@dataclass(frozen=True)
class TracedProcess:
    """One process. inherited: calls before a C_Initialize of its own had succeeded; errors: by function."""

    index: int
    pid: int
    parent: int | None
    program: str | None
    end: str
    status: int
    calls: int = 0
    threads: int = 0
    inherited: int = 0
    initialised: tuple[Initialised, ...] = ()
    finalised: int = 0
    logins: int = 0
    opened: int = 0
    leaked: int = 0
    peak: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    unfinished: str | None = None  # the function that it was in when it ended
    failures: tuple[Failure, ...] = ()


def without_calls(record: ProcessRecord) -> TracedProcess:
    """A process that made none, such as a shell that started the one that did."""
    return TracedProcess(record.index, record.pid, record.parent, record.program, record.end, record.status)


def of_process(calls: ProcessCalls, record: ProcessRecord) -> TracedProcess:
    """What the calls of one process show."""
    inherited = ~np.isin(calls.function[calls.epochs[0]], NO_USE)
    under_way = calls.state != ENDED
    failures = _failures(calls)
    errors: Counter[str] = Counter()
    for failure in failures:
        errors.update(dict(failure.functions))
    return TracedProcess(
        index=record.index,
        pid=record.pid,
        parent=record.parent,
        program=record.program,
        end=record.end,
        status=record.status,
        calls=len(calls),
        threads=int(np.unique(calls.tid).size),
        inherited=int(np.count_nonzero(inherited)),
        initialised=_initialised(calls),
        finalised=int(calls.successes("C_Finalize").size),
        logins=int(calls.successes("C_Login").size),
        opened=calls.sessions.opened,
        leaked=calls.sessions.leaked,
        peak=calls.sessions.peak,
        errors=dict(errors),
        unfinished=function_name(int(calls.function[calls.last_row()])) if bool(under_way.any()) else None,
        failures=failures,
    )


def _initialised(calls: ProcessCalls) -> tuple[Initialised, ...]:
    rows = calls.rows_of("C_Initialize")
    rows = rows[calls.state[rows] == ENDED]
    found = Counter(zip(calls.locking[rows].tolist(), calls.ckr[rows].tolist(), strict=True))
    return tuple(
        Initialised(_LOCKING_NAME[locking % _CHANGED_BY_TAP], ckr_name(code), count, locking >= _CHANGED_BY_TAP)
        for (locking, code), count in found.items()
    )


def _failures(calls: ProcessCalls) -> tuple[Failure, ...]:
    """Answers other than CKR_OK, by code. Some are an ordinary way to ask, such as CKR_BUFFER_TOO_SMALL."""
    wrong = np.flatnonzero((calls.ckr != 0) & (calls.state == ENDED))
    by_code: dict[int, Counter[str]] = {}
    for code, number in zip(calls.ckr[wrong].tolist(), calls.function[wrong].tolist(), strict=True):
        by_code.setdefault(code, Counter())[function_name(number)] += 1
    return tuple(
        Failure("pkcs11", ckr_name(code), sum(functions.values()), 1, functions=tuple(sorted(functions.items())))
        for code, functions in by_code.items()
    )
