"""The numpy dtypes of rows, read from the same definition that C compiles (lab/native/rows.def)."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

import numpy as np

_NUMPY: Final = {"i64": "<i8", "u64": "<u8", "u32": "<u4", "u16": "<u2", "u8": "u1"}
_TEXT: Final = (resources.files("lab.native") / "rows.def").read_text()

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
        ("claimed", "<u8"),
        ("allocated", "<u8"),
        ("lost", "<u8"),
    ]
)


def _row(name: str) -> np.dtype[np.void]:
    fields = re.findall(rf"^FIELD\({name}, (\w+), (\w+),", _TEXT, re.MULTILINE)
    return np.dtype([(field, _NUMPY[kind]) for kind, field in fields])


def _values(field: str) -> dict[str, int]:
    return {name: int(number) for number, name in re.findall(rf"^VALUE\({field}, (\d+), (\w+)\)", _TEXT, re.MULTILINE)}


OPERATION: Final = _row("operation")
CALL: Final = _row("call")
KIND: Final = _values("KIND")
PHASE: Final = _values("PHASE")
LAYER: Final = _values("LAYER")
LOCKING: Final = _values("LOCKING")
EMPTY, BEGUN, ENDED = 0, 1, 2
