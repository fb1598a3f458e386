"""Writes the tables of columns in docs/api.md, from lab/report/loaded/columns.py.

python -m docs.api
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from lab.report.loaded.columns import FRAMES

PAGE: Final = Path(__file__).parent / "api.md"
_TABLE: Final = re.compile(r"(<!-- columns of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(page: str) -> str:
    """The page with its tables as they should be."""
    return _TABLE.sub(lambda found: f"{found[1]}{table(found[2])}{found[3]}", page)


def table(frame: str) -> str:
    """The columns of one DataFrame."""
    rows = [f"| `{name}` | {column.dtype} | {column.meaning} |" for name, column in FRAMES[frame].items()]
    return "\n".join(["| column | dtype | meaning |", "| --- | --- | --- |", *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
