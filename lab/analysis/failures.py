"""Failures by layer and code: what went wrong, how often, in how many processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lab.analysis.rules.endings import signal_name
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import LAYER, PHASE
from lab.record.model import ProcessRecord
from lab.record.names import ckr_name, function_name

_LAYER_NAME: Final = {number: name for name, number in LAYER.items()}


@dataclass(frozen=True)
class Failure:
    """One kind of failure in one trial. setup: how many of `count` were steps of the set-up; functions: by name."""

    layer: str
    code: str
    count: int
    processes: int
    setup: int = 0
    functions: tuple[tuple[str, int], ...] = ()


def of_operations(operations: Table) -> list[Failure]:
    """Failed rows of one process, all phases, and signatures that were wrong."""
    failed = np.flatnonzero(operations["outcome"] == columns.FAIL)
    found = []
    if failed.size:
        layer = operations["layer"][failed].astype(np.uint64)
        setup = operations["phase"][failed] == PHASE["setup"]
        key = (layer << np.uint64(48)) | (operations["function"][failed].astype(np.uint64) << np.uint64(40))
        key |= (setup.astype(np.uint64) << np.uint64(32)) | operations["code"][failed]
        for packed, count in zip(*(part.tolist() for part in np.unique(key, return_counts=True)), strict=True):
            number = packed >> 48
            name = _LAYER_NAME.get(number, f"layer {number}")
            code = ckr_name(packed & 0xFFFFFFFF) if number == LAYER["pkcs11"] else f"{name} {packed & 0xFFFFFFFF}"
            function = function_name(packed >> 40 & 0xFF)
            is_setup = bool(packed >> 32 & 1)
            found.append(Failure(name, code, count, 1, count if is_setup else 0, ((function, count),)))
    wrong = int(np.count_nonzero(operations["verified"] == columns.WRONG))
    if wrong:
        found.append(Failure("wrong-result", "signature does not verify", wrong, 1))
    return _merged_in_process(found)


def of_ending(record: ProcessRecord, unfinished: int) -> list[Failure]:
    """What the way a process ended says. unfinished: its operations that began and never ended."""
    if record.end == "signal":
        return [_ending("signal", signal_name(record.status), record)]
    if record.end == "hang":
        return [_ending("hang", _hung(record), record)]
    if record.end == "root-died":
        return [_ending("exit", "the trial root died", record)]
    if record.end == "exit" and (record.status or not record.finished):
        code = f"exit status {record.status}" + (" in mid-operation" if unfinished else "")
        return [_ending("exit", code, record)]
    return []


def _hung(record: ProcessRecord) -> str:
    if record.last_call is None:
        return "hung"
    return f"hung {'in' if record.in_last_call else 'after'} {record.last_call}"


def together(parts: Iterable[Failure]) -> list[Failure]:
    """Failures of several processes or trials, most frequent first; processes add up."""
    kinds: dict[tuple[str, str], list[Failure]] = defaultdict(list)
    for part in parts:
        kinds[(part.layer, part.code)].append(part)
    whole = [_sum(same, sum(part.processes for part in same)) for same in kinds.values()]
    return sorted(whole, key=lambda failure: (-failure.count, failure.layer, failure.code))


def to_json(failure: Failure) -> dict[str, Any]:
    """As in summary.json."""
    return {
        "layer": failure.layer,
        "code": failure.code,
        "count": failure.count,
        "processes": failure.processes,
        "setup": failure.setup,
        "functions": dict(failure.functions),
    }


def _merged_in_process(parts: list[Failure]) -> list[Failure]:
    kinds: dict[tuple[str, str], list[Failure]] = defaultdict(list)
    for part in parts:
        kinds[(part.layer, part.code)].append(part)
    return [_sum(same, 1) for same in kinds.values()]


def _sum(same: list[Failure], processes: int) -> Failure:
    functions: dict[str, int] = defaultdict(int)
    for part in same:
        for name, count in part.functions:
            functions[name] += count
    first = same[0]
    return Failure(
        first.layer,
        first.code,
        sum(part.count for part in same),
        processes,
        sum(part.setup for part in same),
        tuple(sorted(functions.items())),
    )


def _ending(layer: str, code: str, record: ProcessRecord) -> Failure:
    functions = ((record.last_call, 1),) if record.last_call else ()
    return Failure(layer, code, 1, 1, functions=functions)
