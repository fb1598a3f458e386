"""Cold start: what a worker pays before its first operation is done. It is the price of the policy `per-process`.

One figure per worker and step: the sum of the service times of its rows that ended well, such as a key search for each
virtual host. `total` is the time that really went by, from the beginning of the first step to the end of the first
operation, where that ended well: no sum of steps, and its median no sum of medians. Workers that inherit a context have
fewer steps; a missing one is no zero.

A server's first operation is its first handshake, from accept to its end. It waited for a client before that, which is
no cost: `total` is the time that its set-up went on, and that of the handshake.

Of a real server the lab has no set-up rows, so its steps are the calls that its library made before its first
operation with the key, in the thread that made it or another. Its first operation is that one, from the C_SignInit or
C_DecryptInit on, and `total` has no handshake in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

import numpy as np

from lab.analysis.calls import ProcessCalls
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import ENDED, KIND, PHASE
from lab.record.names import FUNCTION_NUMBER

STEPS: Final = (
    *("load", "finalize", "initialize", "find_token", "open_session", "login", "find_key", "open_key"),
    *("tls_context", "first_operation", "total"),
)
_KINDS: Final = STEPS[:-2]

_CALLS: Final = {
    "finalize": ("C_Finalize",),
    "initialize": ("C_Initialize",),
    "find_token": ("C_GetSlotList", "C_GetSlotInfo", "C_GetTokenInfo"),
    "open_session": ("C_OpenSession",),
    "login": ("C_Login", "C_LoginUser"),
    "find_key": ("C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue"),
}
"""The calls that a real server's steps are made of."""


def of_process(operations: Table) -> dict[str, float]:
    """Service times in ms by step, summed, of one worker; steps that it did not do, or failed at, are absent."""
    phase = operations["phase"]
    lasted_ns = operations["ended_ns"] - operations["started_ns"]
    early = np.flatnonzero((phase == PHASE["setup"]) | (phase == PHASE["first"]))
    well = early[operations["outcome"][early] == columns.OK]
    setup, first = well[phase[well] == PHASE["setup"]], well[phase[well] == PHASE["first"]]
    found: dict[str, float] = {}
    for step in _KINDS:
        rows = setup[operations["kind"][setup] == KIND[step]]
        if rows.size:
            found[step] = int(lasted_ns[rows].sum()) / 1e6
    if first.size:
        found["first_operation"] = int(lasted_ns[first[0]]) / 1e6
        found["total"] = int(operations["ended_ns"][first[0]] - operations["started_ns"][early].min()) / 1e6
    return found


def of_server(operations: Table) -> tuple[dict[str, float], float]:
    """The steps of a server's set-up in ms, and how long it went on, from the first to the end of the last."""
    setup = operations["phase"] == PHASE["setup"]
    well = setup & (operations["outcome"] == columns.OK)
    if not well.any():
        return {}, 0.0
    lasted = int(operations["ended_ns"][well].max() - operations["started_ns"][setup].min()) / 1e6
    return of_process(operations), lasted


def of_calls(calls: ProcessCalls) -> dict[str, float]:
    """The steps of a process in ms from its calls alone, up to its first operation with a key that ended well."""
    well = (calls.ckr == 0) & (calls.state == ENDED)
    done = [rows for name in ("C_Sign", "C_SignFinal", "C_Decrypt", "C_DecryptFinal") for rows in calls.successes(name)]
    begins = len(calls)
    found: dict[str, float] = {}
    if done:
        last = int(min(done))
        inits = np.concatenate([calls.successes("C_SignInit"), calls.successes("C_DecryptInit")])
        mine = inits[(inits < last) & (calls.tid[inits] == calls.tid[last])]
        begins = int(mine.max()) if mine.size else last
        found["first_operation"] = int(calls.ended_ns[last] - calls.started_ns[begins]) / 1e6
    early = np.zeros(len(calls), np.bool_)
    for step, names in _CALLS.items():
        rows = np.flatnonzero(np.isin(calls.function[:begins], [FUNCTION_NUMBER[name] for name in names]))
        rows = rows[well[rows]]
        early[rows] = True
        if rows.size:
            found[step] = int((calls.ended_ns[rows] - calls.started_ns[rows]).sum()) / 1e6
    if "first_operation" in found:
        setup_ns = int(calls.ended_ns[early].max() - calls.started_ns[early].min()) if early.any() else 0
        found["total"] = setup_ns / 1e6 + found["first_operation"]
    return found


def with_first_handshake(steps: Mapping[str, float], setup_ms: float, first_ms: float) -> dict[str, float]:
    """A server's figures: those of of_server(), and its first handshake."""
    return {**steps, "first_operation": first_ms, "total": setup_ms + first_ms}


def medians_ms(workers: Iterable[Mapping[str, float]]) -> dict[str, float | None]:
    """The median over workers of each step, None where no worker did it."""
    by_worker = list(workers)
    figures: dict[str, float | None] = {}
    for step in STEPS:
        values = [worker[step] for worker in by_worker if step in worker]
        figures[step] = median(values) if values else None
    return figures
