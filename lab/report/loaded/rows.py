"""The rows of sealed trials to DataFrames: codes become names, times count in ms from the release of their trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.record import columns
from lab.record.columns import OUTCOMES, Table
from lab.record.dtypes import ENDED, KIND, LAYER, PHASE, SIDE
from lab.record.failure_names import failure_name
from lab.record.model import TrialRecord
from lab.record.names import FUNCTIONS, ckr_name
from lab.record.run import StoredTrial
from lab.report.loaded.columns import CALLS, OPERATIONS, Column
from lab.report.loaded.frames import as_frame

_ROLES: Final = ("root", "worker", "generator", "master", "other")
_NS_PER_MS: Final = 1e6

Part = dict[str, Any]


def operations(trials: Iterable[StoredTrial], arms: Sequence[str], usable: Callable[[int], bool]) -> pd.DataFrame:
    """All operations of all trials. usable: of a trial's number."""
    names: dict[str, int] = {}
    parts = [_operations(trial, arms, usable(trial.record.number), names) for trial in trials]
    categories = {
        "arm": arms,
        "kind": _labels(KIND),
        "phase": _labels(PHASE),
        "outcome": OUTCOMES,
        "layer": _labels(LAYER),
        "code": tuple(names),
        "function": FUNCTIONS,
        "verified": ("wrong", "right"),
    }
    return _joined(OPERATIONS, parts, categories)


def calls(trials: Iterable[StoredTrial], arms: Sequence[str], usable: Callable[[int], bool]) -> pd.DataFrame:
    """All calls of all trials."""
    names: dict[str, int] = {}
    parts = [_calls(trial, arms, usable(trial.record.number), names) for trial in trials]
    return _joined(CALLS, parts, {"arm": arms, "role": _ROLES, "function": FUNCTIONS, "ckr": tuple(names)})


When = dict[tuple[int, int, bool], dict[tuple[str, str], tuple[float, float]]]
"""(trial, process, whether a server saw it) -> (layer, code) -> ms from the release to the first and the last."""


def when_failed(trial: StoredTrial) -> When:
    """When operations of this trial failed and, as its own servers saw them, connections."""
    found: When = {}
    release_ns = _release_ns(trial.record, trial.operations)
    texts = dict(trial.record.error_texts)
    labels = {number: name for name, number in LAYER.items()}
    connections = trial.connections
    served = (connections["side"] == SIDE["server"]) & (connections["outcome"] == columns.FAIL)
    failed = trial.operations["outcome"] == columns.FAIL
    for table, rows, ns in ((trial.operations, failed, "started_ns"), (connections, served, "ended_ns")):
        at_ms = (table[ns][rows] - release_ns) / _NS_PER_MS
        kinds = np.stack([table[name][rows].astype(np.int64) for name in ("process", "layer", "code")])
        distinct, place = np.unique(kinds, axis=1, return_inverse=True)
        for column, (process, layer, code) in enumerate(distinct.T.tolist()):
            at = at_ms[place.ravel() == column]
            key = (labels.get(layer, f"layer {layer}"), failure_name(layer, code, texts))
            of = found.setdefault((trial.record.number, process, table is connections), {})
            first, last = float(at.min()), float(at.max())
            of[key] = (min(first, of[key][0]), max(last, of[key][1])) if key in of else (first, last)
    return found


def _operations(trial: StoredTrial, arms: Sequence[str], usable: bool, names: dict[str, int]) -> Part:
    record, table = trial.record, trial.operations
    release_ns = _release_ns(record, table)
    outcome, phase = table["outcome"], table["phase"]
    intended, started, ended = table["intended_ns"], table["started_ns"], table["ended_ns"]
    in_load = (phase == PHASE["warmup"]) | (phase == PHASE["measured"])
    planned = in_load if record.open_loop else np.zeros(phase.size, np.bool_)
    over = ended != 0
    failed = outcome == columns.FAIL
    layer, verified = table["layer"], table["verified"]
    function = np.where(failed & (table["function"] != 0), table["function"].astype(np.int16) - 1, -1)
    return {
        **_place(record, arms, usable, phase.size),
        **{name: table[name] for name in ("process", "thread", "sequence", "vhost", "session")},
        "kind": table["kind"].astype(np.int16),
        "phase": phase.astype(np.int16),
        "intended_ms": _ms(intended - release_ns, planned),
        "started_ms": _ms(started - release_ns),
        "ended_ms": _ms(ended - release_ns, over),
        "response_ms": _ms(ended - intended, planned & over),
        "service_ms": _ms(ended - started, over),
        "lag_ms": _ms(started - intended, planned),
        "outcome": outcome.astype(np.int16),
        "layer": np.where(failed, layer, -1).astype(np.int16),
        "code": _named(failed, (layer, table["code"]), names, _failure_namer(record)),
        "function": function,
        "verified": np.where(verified == columns.UNVERIFIED, -1, verified == columns.RIGHT).astype(np.int16),
    }


def _calls(trial: StoredTrial, arms: Sequence[str], usable: bool, names: dict[str, int]) -> Part:
    record, table = trial.record, trial.calls
    release_ns = _release_ns(record, table)
    started, ended = table["started_ns"], table["ended_ns"]
    over = table["state"] == ENDED
    role_of = np.full(1 << 16, -1, np.int16)  # by index of a process, which is 16 bits
    for process in record.processes:
        role_of[process.index] = _ROLES.index(process.role)
    return {
        **_place(record, arms, usable, started.size),
        **{name: table[name] for name in ("process", "pid", "tid", "session", "object")},
        "role": role_of[table["process"]],
        "function": table["function"].astype(np.int16) - 1,
        "started_ms": _ms(started - release_ns),
        "ended_ms": _ms(ended - release_ns, over),
        "took_ms": _ms(ended - started, over),
        "ckr": _named(over, (table["ckr"],), names, ckr_name),
    }


def _failure_namer(record: TrialRecord) -> Callable[[int, int], str]:
    texts = dict(record.error_texts)
    return lambda layer, code: failure_name(layer, code, texts)


def _place(record: TrialRecord, arms: Sequence[str], usable: bool, rows: int) -> Part:
    return {
        "trial": np.full(rows, record.number, np.int32),
        "block": np.full(rows, record.block, np.int32),
        "arm": np.full(rows, arms.index(record.arm) if record.arm in arms else -1, np.int16),
        "usable": np.full(rows, usable),
    }


def _release_ns(record: TrialRecord, table: Table) -> int:
    """Where a trial was never released, its first row."""
    if record.released_ns is not None:
        return record.released_ns
    started = table["started_ns"]
    return int(started.min()) if started.size else 0


def _ms(ns: NDArray[np.int64], known: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    found: NDArray[np.float64] = ns / _NS_PER_MS
    if known is not None:
        found[~known] = np.nan
    return found


def _named(
    which: NDArray[np.bool_],
    numbers: tuple[NDArray[Any], ...],
    names: dict[str, int],
    name: Callable[..., str],
) -> NDArray[np.int16]:
    """For each row of `which` the place of its name in `names`, which grows; -1 for the others."""
    found = np.full(which.size, -1, np.int16)
    rows = np.flatnonzero(which)
    if not rows.size:
        return found
    packed = np.zeros(rows.size, np.uint64)
    for part in numbers:
        packed = packed << np.uint64(32) | part[rows].astype(np.uint64)
    distinct, place = np.unique(packed, return_inverse=True)
    wanted = []
    for key in distinct.tolist():
        parts = [key >> 32 * n & 0xFFFFFFFF for n in reversed(range(len(numbers)))]
        wanted.append(names.setdefault(name(*parts), len(names)))
    found[rows] = np.array(wanted, np.int16)[place]
    return found


def _joined(
    wanted: Mapping[str, Column], parts: Sequence[Part], categories: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    data: dict[str, Any] = {}
    for name, column in wanted.items():
        each = [part[name] for part in parts]
        if name in categories:
            codes: NDArray[np.int16] = np.concatenate(each) if each else np.empty(0, np.int16)
            codes[codes >= len(categories[name])] = -1  # a number that this version has no name for
            data[name] = pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(categories[name])))
        else:
            data[name] = np.concatenate(each) if each else np.empty(0, column.dtype)
        for part in parts:
            del part[name]  # a column at a time, so that no two copies of all are held
    return as_frame(wanted, data)


def _labels(numbers: Mapping[str, int]) -> tuple[str, ...]:
    """Names by number; a number without a name has one all the same, for categories have no holes."""
    by_number = {number: name for name, number in numbers.items()}
    return tuple(by_number.get(number, f"{number}") for number in range(max(by_number) + 1))
