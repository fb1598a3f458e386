"""The columns of one process, from its rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.record import dtypes
from lab.record.columns import CALLS, CONNECTIONS, FAIL, INFO, OK, OPERATIONS, RIGHT, UNVERIFIED, WRONG
from lab.record.mechanisms import Mechanism
from lab.record.rowfile import RowFile, lost_outputs, read_outputs
from lab.record.verify import verify


@dataclass(frozen=True)
class Verification:
    """How the signatures of a trial are checked."""

    mechanism: Mechanism
    key: str  # its kind, as ec-p256
    public_pem: str


def call_columns(file: RowFile, process: int) -> dict[str, NDArray[Any]]:
    """The columns of one process's calls; the tap does not know which process of the trial it was."""
    columns = {name: file.rows[name] for name in CALLS if name != "process"}
    return {"process": np.full(len(file.rows), process, CALLS["process"]), **columns}


def _outcome(rows: NDArray[Any]) -> NDArray[np.uint8]:
    ended = rows["state"] == dtypes.ENDED
    return np.where(ended, np.where(rows["code"] == 0, OK, FAIL), INFO).astype(OPERATIONS["outcome"])


def connection_columns(file: RowFile, operations: RowFile | None) -> dict[str, NDArray[Any]]:
    """The columns of one process's connections.

    A client's connection stands at the same place of its file as its operation of the other file; either may have rows
    that were never begun, so their places are matched. -1 where there is no such operation, and for a server.
    """
    rows = file.rows
    operation = np.full(len(rows), -1, CONNECTIONS["operation"])
    if operations is not None and len(operations.places):
        found = np.searchsorted(operations.places, file.places)
        found[found == len(operations.places)] = 0
        mine = (rows["side"] == dtypes.SIDE["client"]) & (operations.places[found] == file.places)
        operation[mine] = found[mine]
    derived = {
        "process": np.full(len(rows), file.process, CONNECTIONS["process"]),
        "operation": operation,
        "outcome": _outcome(rows),
        "session": np.where(rows["side"] == dtypes.SIDE["server"], rows["key_use"], 0),
        "tag": np.where(rows["side"] == dtypes.SIDE["client"], rows["key_use"], 0),
    }
    return {**derived, **{name: rows[name] for name in CONNECTIONS if name not in derived}}


def operation_columns(folder: Path, file: RowFile, check: Verification | None) -> dict[str, NDArray[Any]]:
    """The columns of one process's operations, signatures verified where `check` says how.

    The client of a handshake has checked certificate and signature as it went.
    """
    rows = file.rows
    outcome = _outcome(rows)
    columns = {name: rows[name] for name in OPERATIONS if name not in ("process", "outcome", "verified")}
    verified = np.full(len(rows), UNVERIFIED, OPERATIONS["verified"])
    handshake = rows["kind"] == dtypes.KIND["handshake"]
    verified[handshake & (outcome == OK)] = RIGHT
    bad = (rows["layer"] == dtypes.LAYER["tls"]) & (rows["code"] == dtypes.TLS["bad_signature"])
    verified[handshake & (outcome == FAIL) & bad] = WRONG
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
