"""The columns of a sealed trial: operations.parquet and calls.parquet, and the arrays that analysis works on.

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
    "verified": np.dtype("i1"),  # UNVERIFIED (nothing to verify), WRONG, RIGHT
}

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
