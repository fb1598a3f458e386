"""The columns of a sealed trial, which are the arrays that analysis works on.

They are stored as operations.parquet, calls.parquet and, where there were handshakes, connections.parquet.

A table is a mapping from column name to a numpy array, all of one length. Rows are grouped by process, in the order
in which their process claimed them, which is nearly, but across threads not exactly, the order of started_ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Table = Mapping[str, NDArray[Any]]

OK, FAIL, INFO = 0, 1, 2
OUTCOMES: Final = ("ok", "fail", "info")

UNVERIFIED, WRONG, RIGHT = -1, 0, 1

OPERATIONS: Final[dict[str, np.dtype[Any]]] = {
    "process": np.dtype("u2"),  # index of the process in the trial
    "thread": np.dtype("u2"),
    "tid": np.dtype("u4"),
    "kind": np.dtype("u1"),  # dtypes.KIND
    "phase": np.dtype("u1"),  # dtypes.PHASE
    "sequence": np.dtype("u4"),
    "intended_ns": np.dtype("i8"),
    "started_ns": np.dtype("i8"),
    "ended_ns": np.dtype("i8"),  # 0 where it never ended
    "outcome": np.dtype("u1"),  # OK, FAIL, INFO: info is a row that began and never ended
    "layer": np.dtype("u1"),  # dtypes.LAYER, of a failure
    "code": np.dtype("u4"),
    "function": np.dtype("u1"),  # of a failure, names.FUNCTIONS
    "session": np.dtype("u8"),
    "vhost": np.dtype("u2"),  # index of the virtual host; 0 where there is none
    "verified": np.dtype("i1"),  # UNVERIFIED (nothing to verify), WRONG, RIGHT
}

YOUNGER: Final = ("vhost", "tag")
"""Columns that run folders of earlier versions do not have; they are zeros there."""

CALLS: Final[dict[str, np.dtype[Any]]] = {
    "process": np.dtype("u2"),
    "pid": np.dtype("u4"),
    "tid": np.dtype("u4"),
    "function": np.dtype("u1"),
    "started_ns": np.dtype("i8"),
    "ended_ns": np.dtype("i8"),  # 0 where it never returned
    "session": np.dtype("u8"),
    "object": np.dtype("u8"),
    "argument": np.dtype("u8"),
    "tag": np.dtype("u8"),
    "ckr": np.dtype("u4"),
    "locking": np.dtype("u1"),  # dtypes.LOCKING, +128 where the tap changed it
    "state": np.dtype("u1"),  # dtypes.BEGUN, ENDED
}

CONNECTIONS: Final[dict[str, np.dtype[Any]]] = {
    "process": np.dtype("u2"),
    "operation": np.dtype("i8"),  # client: place of its row among its process's rows of operations.parquet; server: -1
    **{name: np.dtype("i8") for name in ("opened_ns", "ended_ns")},
    **{f"step{n}_{edge}_ns": np.dtype("i8") for n in (1, 2, 3, 4) for edge in ("started", "ended")},
    "random": np.dtype("u8"),
    "session": np.dtype("u8"),  # server with the direct bridge: of the key operation; 0 where there was none
    "tag": np.dtype("u8"),  # client: of the server's signature, as CALLS have it of the call that made it; 0 for none
    "tid": np.dtype("u4"),
    "code": np.dtype("u4"),
    "sequence": np.dtype("u4"),
    "thread": np.dtype("u2"),
    "vhost": np.dtype("u2"),
    "port": np.dtype("u2"),
    "version": np.dtype("u2"),
    "side": np.dtype("u1"),  # dtypes.SIDE
    "layer": np.dtype("u1"),
    "function": np.dtype("u1"),
    "resumed": np.dtype("u1"),
    "steps": np.dtype("u1"),
    "outcome": np.dtype("u1"),  # OK, FAIL, INFO
}
"""One row per connection and end: a handshake of the lab's own server has one of the client and one of the server,
with the same `random`. See rows.def for the meaning of each."""
