"""From the rows of a trial to its columns, after which the rows go.

operations.parquet, calls.parquet, trial.json and, where there were connections, connections.parquet. Rows are deleted
only when all of them are on disk. A trial that was cut off is sealed the same way.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lab.errors import LabFault
from lab.record import dtypes, repeats
from lab.record.columns import CALLS, CONNECTIONS, OPERATIONS
from lab.record.folder import write_json
from lab.record.intact import sha256_of
from lab.record.model import ProcessRecord, TrialRecord
from lab.record.names import function_name
from lab.record.row_columns import Verification, call_columns, connection_columns, operation_columns
from lab.record.rowfile import RowFile, lost_outputs, read_rows

__all__ = ["ROW_GROUP", "ErrorText", "Verification", "last_call", "seal"]

_TOKEN_KINDS: Final = tuple(dtypes.KIND[kind] for kind in ("sign", "random", "session_churn"))
ROW_GROUP: Final = 1 << 20
_LOAD_PHASES: Final = (dtypes.PHASE["warmup"], dtypes.PHASE["measured"])


ErrorText = Callable[[int], str | None]
"""What OpenSSL says of one of its packed error codes; None where it has no words for it."""


def seal(
    folder: Path,
    trial: TrialRecord,
    check: Verification | None,
    error_text: ErrorText | None = None,
    key_in_token: bool = True,
) -> TrialRecord:
    """Seals the trial's folder; returns the record with what only the rows knew: lost rows, planned counts, last calls.

    error_text: for OpenSSL's errors in the rows; without it the record's own texts stay. key_in_token: whether a
    server needs the token for a handshake (all bridges but `software`). Raises LabFault when the disk is full or the
    folder not writable; the rows are then still there.
    """
    try:
        return _seal(folder, trial, check, error_text, key_in_token)
    except OSError as error:
        kept = f"the rows are kept in {folder}"
        if error.errno == errno.ENOSPC:
            raise LabFault(f"the disk is full: {kept}") from None
        raise LabFault(f"{error.filename or folder}: {error.strerror or error}; {kept}") from None


def _seal(
    folder: Path, trial: TrialRecord, check: Verification | None, error_text: ErrorText | None, key_in_token: bool
) -> TrialRecord:
    index_of = {process.pid: process.index for process in trial.processes if process.pid}
    calls = [f for f in map(_read_calls, sorted(folder.glob("calls-*.rows"))) if f is not None]
    others: list[ProcessRecord] = []
    owners = {owner.pid: owner for owner in trial.owners}
    for file in calls:
        if file.pid not in index_of:
            index_of[file.pid] = 1 + max((p.index for p in trial.processes), default=-1) + len(others)
            other = ProcessRecord(index_of[file.pid], "other", file.pid, "unknown", 0, 0, None, 1)
            if owner := owners.get(file.pid):
                other = replace(other, end=owner.end, status=owner.status, finished=owner.finished)
            others.append(other)
    programs = {file.pid: file for file in calls}  # of a process that became another program: the latest
    # a program that unloads the tap and loads it again has a file of each time
    calls.sort(key=lambda file: (index_of[file.pid], int(file.rows["started_ns"][0]) if len(file.rows) else 0))
    operations = _read_by_process(folder, "operations", dtypes.OPERATION)
    connections = _read_by_process(folder, "connections", dtypes.CONNECTION)
    lost = sum(f.lost for f in (*calls, *operations.values(), *connections.values()))
    lost += sum(lost_outputs(path) for path in folder.glob("outputs-*.rows"))
    _write(folder / "calls.parquet", (call_columns(f, index_of[f.pid]) for f in calls), CALLS)
    signatures: list[repeats.Signatures] = []

    def columns_of(file: RowFile) -> dict[str, NDArray[Any]]:
        columns = operation_columns(folder, file, check)
        signatures.extend(_signatures(folder, file, columns["verified"], check, connections))
        return columns

    _write(folder / "operations.parquet", map(columns_of, operations.values()), OPERATIONS)
    if connections:
        parts = (connection_columns(f, operations.get(f.process)) for f in connections.values())
        _write(folder / "connections.parquet", parts, CONNECTIONS)
    last = {file.pid: last_call(file.rows) for file in calls}
    processes = tuple(
        _completed(_named(p, programs.get(p.pid)), operations.get(p.index), last.get(p.pid), trial)
        for p in trial.processes
    )
    strangers = tuple(_completed(_named(p, programs.get(p.pid)), None, last.get(p.pid), trial) for p in others)
    recorded = {file.pid for file in calls}
    unrecorded = _unrecorded(operations, connections if key_in_token else {}, recorded)
    texts = trial.error_texts
    if error_text is not None:
        # what a real server's log said of its codes holds: to this process they may be unknown
        own = dict(_texts((*operations.values(), *connections.values()), error_text))
        texts = tuple(sorted((own | dict(trial.error_texts)).items()))
    record = replace(
        trial,
        processes=(*processes, *strangers),
        lost_rows=lost,
        invalid_because=(*trial.invalid_because, *unrecorded),
        error_texts=texts,
        nonces=repeats.find(signatures),
        tables=tuple((path.name, sha256_of(path)) for path in sorted(folder.glob("*.parquet"))),
    )
    write_json(folder / "trial.json", record.to_json())
    for path in (*folder.glob("*.rows"), *folder.glob("begun.json")):
        path.unlink()
    return record


def _read_calls(path: Path) -> RowFile | None:
    return read_rows(path, dtypes.CALL)


def _read_by_process(folder: Path, name: str, dtype: np.dtype[np.void]) -> dict[int, RowFile]:
    files = (read_rows(path, dtype) for path in folder.glob(f"{name}-*.rows"))
    return {f.process: f for f in sorted((f for f in files if f is not None), key=lambda f: f.process)}


def _signatures(
    folder: Path,
    file: RowFile,
    verified: NDArray[np.int8],
    check: Verification | None,
    connections: Mapping[int, RowFile],
) -> Iterator[repeats.Signatures]:
    """The ECDSA signatures that a process made or, as a client, got."""
    if check is not None:
        found = repeats.of_signing(folder, file, verified, check)
    else:
        found = repeats.of_handshakes(folder, file, verified, connections)
    if found is not None:
        yield found


def _unrecorded(operations: Mapping[int, RowFile], connections: Mapping[int, RowFile], recorded: set[int]) -> list[str]:
    """Processes that used the token without a row of the tap: rules would hold there because nobody looked."""
    used = [index for index, file in operations.items() if file.pid not in recorded and _answered(file.rows).any()]
    used += [index for index, file in connections.items() if file.pid not in recorded and _served(file.rows).any()]
    return [f"process {index}: its calls were not recorded" for index in sorted(set(used))]


def _served(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Handshakes of a server that went well and took its key."""
    well = (rows["state"] == dtypes.ENDED) & (rows["code"] == 0)
    served: NDArray[np.bool_] = well & (rows["side"] == dtypes.SIDE["server"]) & (rows["resumed"] == 0)
    return served


def _texts(files: Iterable[RowFile], error_text: ErrorText) -> tuple[tuple[int, str], ...]:
    """What OpenSSL says of each of its codes in these rows, where it says anything."""
    codes: set[int] = set()
    for file in files:
        failed = (file.rows["layer"] == dtypes.LAYER["openssl"]) & (file.rows["code"] != 0)
        codes |= set(np.unique(file.rows["code"][failed]).tolist())
    found = ((code, error_text(code)) for code in sorted(codes))
    return tuple((code, text) for code, text in found if text)


def _answered(rows: NDArray[Any]) -> NDArray[np.bool_]:
    well = (rows["state"] == dtypes.ENDED) & (rows["code"] == 0)
    answered: NDArray[np.bool_] = np.isin(rows["kind"], _TOKEN_KINDS) & well
    return answered


def _named(process: ProcessRecord, calls: RowFile | None) -> ProcessRecord:
    if calls is None:
        return process
    return replace(process, program=calls.program or process.program, parent=calls.parent or process.parent)


def _completed(
    process: ProcessRecord, rows: RowFile | None, last: tuple[str, bool] | None, trial: TrialRecord
) -> ProcessRecord:
    planned = process.planned
    if not trial.open_loop and rows is not None:
        planned = int(np.isin(rows.rows["phase"], _LOAD_PHASES).sum()) + rows.lost
    orderly = process.end == "exit" and process.finished and not process.status
    if orderly or last is None:
        return replace(process, planned=planned)
    name, inside = last
    return replace(process, planned=planned, last_call=name, in_last_call=inside)


def last_call(rows: NDArray[Any]) -> tuple[str, bool] | None:
    """The function that a process was in when it ended (True), or the one that it had called last (False)."""
    if not len(rows):
        return None
    inside = np.flatnonzero(rows["state"] == dtypes.BEGUN)
    at = inside[-1] if len(inside) else int(np.argmax(rows["started_ns"]))
    return function_name(int(rows["function"][at])), bool(len(inside))


def _write(path: Path, parts: Iterator[dict[str, NDArray[Any]]], columns: Mapping[str, np.dtype[Any]]) -> None:
    """One Parquet file. Small parts are gathered, so that 200 processes do not make 200 row groups."""
    schema = pa.schema([(name, pa.from_numpy_dtype(dtype)) for name, dtype in columns.items()])
    temporary = path.with_suffix(".partial")
    how: dict[str, Any] = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
    with pa.OSFile(os.fsencode(temporary), "wb") as file, pq.ParquetWriter(file, schema, **how) as out:
        waiting: list[pa.Table] = []
        for part in parts:
            arrays = [_integers(np.ascontiguousarray(part[name], dtype)) for name, dtype in columns.items()]
            waiting.append(pa.Table.from_arrays(arrays, schema=schema))
            if sum(len(table) for table in waiting) >= ROW_GROUP:
                _flush(out, waiting)
        _flush(out, waiting)
    temporary.replace(path)


def _integers(values: NDArray[Any]) -> pa.Array:
    """Not pa.array(): it imports pandas where that is installed, which is half a second."""
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _flush(out: pq.ParquetWriter, waiting: list[pa.Table]) -> None:
    if waiting:
        out.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP)
        waiting.clear()
