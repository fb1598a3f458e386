"""Failures by layer and code: what went wrong, how often, in how many processes."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lab.analysis.rules.endings import signal_name
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import KIND, LAYER, PHASE
from lab.record.failure_names import LAYER_NAME, failure_name
from lab.record.model import ProcessRecord
from lab.record.names import function_name

Side = Literal["client", "server"]

_WANTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
"""Files, ports and memory, which a client takes from the machine and no server can refuse."""


@dataclass(frozen=True)
class Failure:
    """One kind of failure in one trial. setup: how many of `count` came before the load; functions: by name.

    side: of a handshake, the end that saw it; both ends may see the same one, each by its own name.
    """

    layer: str
    code: str
    count: int
    processes: int
    setup: int = 0
    functions: tuple[tuple[str, int], ...] = ()
    side: Side | None = None


def of_operations(operations: Table, texts: Mapping[int, str] | None = None) -> list[Failure]:
    """Failed rows of one process, all phases, and signatures that were wrong. texts: TrialRecord.error_texts."""
    failed = operations["outcome"] == columns.FAIL
    setup = (operations["phase"] == PHASE["setup"]) | (operations["phase"] == PHASE["first"])  # neither was planned
    own_check = operations["phase"] == PHASE["parent_check"]  # which no client made
    handshake = (operations["kind"] == KIND["handshake"]) & ~own_check
    found = _failed(operations, failed & ~handshake, setup, None, texts or {})
    found += _failed(operations, failed & handshake, setup, "client", texts or {})
    # A handshake whose signature was wrong has failed, and is counted as such.
    wrong = int(np.count_nonzero((operations["verified"] == columns.WRONG) & ~failed))
    if wrong:
        found.append(Failure("wrong-result", "signature does not verify", wrong, 1))
    return _merged_in_process(found)


def of_the_lab(operations: Table) -> list[str]:
    """Handshakes that failed for want of what the generator itself needs: no failures of the server, but the lab's."""
    ours = (operations["kind"] == KIND["handshake"]) & (operations["layer"] == LAYER["network"])
    ours = ours & (operations["outcome"] == columns.FAIL)
    codes, counts = np.unique(operations["code"][ours], return_counts=True)
    return [
        f"{count} handshakes were not begun, because this machine gave the generator no more ({errno.errorcode[code]})"
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        if code in _WANTED
    ]


def of_connections(served: Table, texts: Mapping[int, str] | None = None) -> list[Failure]:
    """Failed rows of one server's connections."""
    failed = served["outcome"] == columns.FAIL
    return _merged_in_process(_failed(served, failed, np.zeros(failed.size, np.bool_), "server", texts or {}))


def _failed(
    table: Table, which: NDArray[np.bool_], setup: NDArray[np.bool_], side: Side | None, texts: Mapping[int, str]
) -> list[Failure]:
    rows = np.flatnonzero(which)
    if not rows.size:
        return []
    key = table["layer"][rows].astype(np.uint64) << np.uint64(48)
    key |= table["function"][rows].astype(np.uint64) << np.uint64(40)
    key |= (setup[rows].astype(np.uint64) << np.uint64(32)) | table["code"][rows]
    found = []
    for packed, count in zip(*(part.tolist() for part in np.unique(key, return_counts=True)), strict=True):
        number = packed >> 48
        layer = LAYER_NAME.get(number, f"layer {number}")
        code = failure_name(number, packed & 0xFFFFFFFF, texts)
        function = function_name(packed >> 40 & 0xFF)
        is_setup = bool(packed >> 32 & 1)
        found.append(Failure(layer, code, count, 1, count if is_setup else 0, ((function, count),), side))
    return found


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
    kinds: dict[tuple[str, str, str | None], list[Failure]] = defaultdict(list)
    for part in parts:
        kinds[(part.layer, part.code, part.side)].append(part)
    whole = [_sum(same, sum(part.processes for part in same)) for same in kinds.values()]
    return sorted(whole, key=lambda failure: (-failure.count, failure.layer, failure.code, failure.side or ""))


def to_json(failure: Failure) -> dict[str, Any]:
    """As in summary.json."""
    return {
        "layer": failure.layer,
        "code": failure.code,
        "count": failure.count,
        "processes": failure.processes,
        "setup": failure.setup,
        "functions": dict(failure.functions),
        "side": failure.side,
    }


def _merged_in_process(parts: list[Failure]) -> list[Failure]:
    kinds: dict[tuple[str, str, str | None], list[Failure]] = defaultdict(list)
    for part in parts:
        kinds[(part.layer, part.code, part.side)].append(part)
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
        first.side,
    )


def _ending(layer: str, code: str, record: ProcessRecord) -> Failure:
    functions = ((record.last_call, 1),) if record.last_call else ()
    return Failure(layer, code, 1, 1, functions=functions)
