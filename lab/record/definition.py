"""What rows.def says, read as text and without numpy: workers need the numbers and should stay small."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

_TEXT: Final = (resources.files("lab.native") / "rows.def").read_text()


def fields(row: str) -> list[tuple[str, str]]:
    """Names and C types of the fields of a row, in order."""
    found = re.findall(rf"^FIELD\({row}, (\w+), (\w+),", _TEXT, re.MULTILINE)
    return [(name, kind) for kind, name in found]


def values(field: str) -> dict[str, int]:
    """The named values of a field."""
    return {name: int(number) for number, name in re.findall(rf"^VALUE\({field}, (\d+), (\w+)\)", _TEXT, re.MULTILINE)}


KIND: Final = values("KIND")
PHASE: Final = values("PHASE")
LAYER: Final = values("LAYER")
LOCKING: Final = values("LOCKING")
TLS: Final = values("TLS")
NETWORK: Final = values("NETWORK")
SIDE: Final = values("SIDE")
EMPTY, BEGUN, ENDED = 0, 1, 2
