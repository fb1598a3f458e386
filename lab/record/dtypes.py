"""The numpy dtypes of rows, made from the same definition that C compiles (lab/native/rows.def)."""

from __future__ import annotations

from typing import Final

import numpy as np

from lab.record.definition import BEGUN, EMPTY, ENDED, KIND, LAYER, LOCKING, NETWORK, PHASE, SIDE, TLS, fields

__all__ = [
    "BEGUN",
    "CALL",
    "CONNECTION",
    "EMPTY",
    "ENDED",
    "HEADER",
    "HEARD",
    "KIND",
    "LAYER",
    "LOCKING",
    "NETWORK",
    "OPERATION",
    "PHASE",
    "SIDE",
    "TLS",
]

_NUMPY: Final = {"i64": "<i8", "u64": "<u8", "u32": "<u4", "u16": "<u2", "u8": "u1"}

HEADER_BYTES: Final = 4096
MAGIC: Final = b"LABROWS1"
HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("kind", "<u4"),
        ("row_bytes", "<u4"),
        ("pid", "<u4"),
        ("process", "<u4"),
        ("opened_ns", "<i8"),
        ("capacity", "<u8"),
        ("allocated", "<u8"),
        ("lost", "<u8"),
        ("padding", "<u8"),  # so that claimed begins a cache line
        ("claimed", "<u8"),
        ("padding2", "<u8", 7),
        ("parent", "<u4"),  # of calls: pid of the parent
        ("program", "S60"),  # of calls: name of the program's file
    ]
)
OPERATION: Final = np.dtype([(name, _NUMPY[kind]) for name, kind in fields("operation")])
CONNECTION: Final = np.dtype([(name, _NUMPY[kind]) for name, kind in fields("connection")])
HEARD: Final = np.dtype(
    [
        ("scalar_bytes", "u1"),
        ("digest_bytes", "u1"),
        ("point_bytes", "u1"),
        ("spare", "u1"),
        ("r", "u1", 48),
        ("s", "u1", 48),
        ("digest", "u1", 64),
        ("point", "u1", 97),
        ("spare2", "u1", 3),
    ]
)
"""What a client keeps of a server's ECDSA signature, as lab/native/heard.h lays it out."""

CALL: Final = np.dtype([(name, _NUMPY[kind]) for name, kind in fields("call")])
