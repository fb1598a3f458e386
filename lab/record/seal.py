"""From the rows of a trial to its columns: operations.parquet, calls.parquet and trial.json, after which the rows go.

Rows are deleted only when all three files are on disk. A trial that was cut off is sealed the same way.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lab.errors import LabFault
from lab.record import dtypes
from lab.record.columns import CALLS, FAIL, INFO, OK, OPERATIONS, UNVERIFIED
from lab.record.folder import write_json
from lab.record.mechanisms import Mechanism
from lab.record.model import ProcessRecord, TrialRecord
from lab.record.names import function_name
from lab.record.rowfile import RowFile, lost_outputs, read_outputs, read_rows
from lab.record.verify import verify

_TOKEN_KINDS: Final = tuple(dtypes.KIND[kind] for kind in ("sign", "random", "session_churn"))
ROW_GROUP: Final = 1 << 20
_LOAD_PHASES: Final = (dtypes.PHASE["warmup"], dtypes.PHASE["measured"])


@dataclass(frozen=True)
class Verification:
    """How the signatures of a trial are checked."""

    mechanism: Mechanism
    key: str  # its kind, as ec-p256
    public_pem: str


def seal(folder: Path, trial: TrialRecord, check: Verification | None) -> TrialRecord:
    """Seals the trial's folder; returns the record with what only the rows knew: lost rows, planned counts, last calls.

    Raises LabFault when the disk is full or the folder not writable; the rows are then still there.
    """
    try:
        return _seal(folder, trial, check)
    except OSError as error:
        kept = f"the rows are kept in {folder}"
        if error.errno == errno.ENOSPC:
            raise LabFault(f"the disk is full: {kept}") from None
        raise LabFault(f"{error.filename or folder}: {error.strerror or error}; {kept}") from None


def _seal(folder: Path, trial: TrialRecord, check: Verification | None) -> TrialRecord:
    index_of = {process.pid: process.index for process in trial.processes if process.pid}
    calls = [f for f in map(_read_calls, sorted(folder.glob("calls-*.rows"))) if f is not None]
    others: list[ProcessRecord] = []
    for file in calls:
        if file.pid not in index_of:
            index_of[file.pid] = len(trial.processes) + len(others)
            others.append(ProcessRecord(index_of[file.pid], "other", file.pid, "unknown", 0, 0, None, 1))
    calls.sort(key=lambda file: index_of[file.pid])
    operations = _read_operations(folder)
    lost = sum(f.lost for f in (*calls, *operations.values()))
    lost += sum(lost_outputs(path) for path in folder.glob("outputs-*.rows"))
    _write(folder / "calls.parquet", (_call_columns(f, index_of[f.pid]) for f in calls), CALLS)
    _write(folder / "operations.parquet", (_columns(folder, f, check) for f in operations.values()), OPERATIONS)
    last = {file.pid: last_call(file.rows) for file in calls}
    processes = tuple(_completed(p, operations.get(p.index), last.get(p.pid), trial) for p in trial.processes)
    problems = (*trial.invalid_because, *_unrecorded(operations, {file.pid for file in calls}))
    record = replace(trial, processes=(*processes, *others), lost_rows=lost, invalid_because=problems)
    write_json(folder / "trial.json", record.to_json())
    for path in (*folder.glob("*.rows"), *folder.glob("begun.json")):
        path.unlink()
    return record


def _read_calls(path: Path) -> RowFile | None:
    return read_rows(path, dtypes.CALL)


def _read_operations(folder: Path) -> dict[int, RowFile]:
    files = (read_rows(path, dtypes.OPERATION) for path in folder.glob("operations-*.rows"))
    return {f.process: f for f in sorted((f for f in files if f is not None), key=lambda f: f.process)}


def _unrecorded(operations: Mapping[int, RowFile], recorded: set[int]) -> list[str]:
    """Processes that used the token without a row of the tap: rules would hold there because nobody looked."""
    return [
        f"process {index}: its calls were not recorded"
        for index, file in operations.items()
        if file.pid not in recorded and bool(_answered(file.rows).any())
    ]


def _answered(rows: NDArray[Any]) -> NDArray[np.bool_]:
    well = (rows["state"] == dtypes.ENDED) & (rows["code"] == 0)
    answered: NDArray[np.bool_] = np.isin(rows["kind"], _TOKEN_KINDS) & well
    return answered


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


def _call_columns(file: RowFile, process: int) -> dict[str, NDArray[Any]]:
    columns = {name: file.rows[name] for name in CALLS if name != "process"}
    return {"process": np.full(len(file.rows), process, CALLS["process"]), **columns}


def _columns(folder: Path, file: RowFile, check: Verification | None) -> dict[str, NDArray[Any]]:
    rows = file.rows
    ended = rows["state"] == dtypes.ENDED
    outcome = np.where(ended, np.where(rows["code"] == 0, OK, FAIL), INFO).astype(OPERATIONS["outcome"])
    columns = {name: rows[name] for name in OPERATIONS if name not in ("process", "outcome", "verified")}
    verified = np.full(len(rows), UNVERIFIED, OPERATIONS["verified"])
    if check is not None:
        path = folder / f"outputs-{file.process}.rows"
        signed = (rows["kind"] == dtypes.KIND["sign"]) & (outcome == OK)
        if lost_outputs(path):  # a signature that the disk had no room for is lost, not wrong
            signed &= rows["length"] > 0
        of = np.flatnonzero(signed)
        kept = _kept(read_outputs(path), file.places[of])
        lengths = np.minimum(rows["length"][of], kept.shape[1])
        verified[of] = verify(check.mechanism, check.public_pem, rows["input"][of], kept, lengths)
    return {
        "process": np.full(len(rows), file.process, OPERATIONS["process"]),
        "outcome": outcome,
        "verified": verified,
        **columns,
    }


def _kept(outputs: NDArray[np.uint8] | None, places: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The outputs at these places; one that was not kept (empty, or longer than a signature) is zeros."""
    if outputs is None:
        return np.empty((len(places), 0), np.uint8)
    kept = np.zeros((len(places), outputs.shape[1]), np.uint8)
    inside = places < len(outputs)
    kept[inside] = outputs[places[inside]]
    return kept


def _write(path: Path, parts: Iterator[dict[str, NDArray[Any]]], columns: Mapping[str, np.dtype[Any]]) -> None:
    """One Parquet file. Small parts are gathered, so that 200 processes do not make 200 row groups."""
    schema = pa.schema([(name, pa.from_numpy_dtype(dtype)) for name, dtype in columns.items()])
    temporary = path.with_suffix(".partial")
    with pq.ParquetWriter(temporary, schema, compression="lz4", use_dictionary=False, write_statistics=False) as out:
        waiting: list[pa.Table] = []
        for part in parts:
            arrays = [pa.array(np.ascontiguousarray(part[name], dtype)) for name, dtype in columns.items()]
            waiting.append(pa.Table.from_arrays(arrays, schema=schema))
            if sum(len(table) for table in waiting) >= ROW_GROUP:
                _flush(out, waiting)
        _flush(out, waiting)
    temporary.replace(path)


def _flush(out: pq.ParquetWriter, waiting: list[pa.Table]) -> None:
    if waiting:
        out.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP)
        waiting.clear()
