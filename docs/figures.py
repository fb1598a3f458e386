"""The pictures and tables of docs/bug-42688.md, from a run folder of scenarios/bug-42688.toml.

    python -m docs.figures RUN

draws docs/pictures/bug-42688-*.png, puts the tables and the short answer, which have all figures of the page, between
its marks, and prints them. The figures are those of lab.analysis; the intervals are those of the lab's comparisons,
here also of pairs that the scenario, which has one baseline, does not compare.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from docs.drawing import DRAWN
from docs.measured import HTTPD, NEITHER, PREPARED, Measured
from docs.tables import BLOCKS
from lab.errors import LabFault, ScenarioError

PAGE: Final = Path(__file__).parent / "bug-42688.md"
PICTURES: Final = Path(__file__).parent / "pictures"


def renewed(page: str, blocks: Mapping[str, str]) -> str:
    """The page with its marked parts replaced. Raises KeyError where it has a mark that is no block."""
    mark = re.compile(r"(<!-- (\w+): .*? -->\n).*?(<!-- end -->)", re.DOTALL)
    return mark.sub(lambda found: f"{found[1]}{blocks[found[2]]}\n{found[3]}", page)


def main(folder: Path) -> int:
    try:
        run = Measured.read(folder)
    except (ScenarioError, LabFault) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    missing = {*PREPARED, *NEITHER, *HTTPD} - set(run.summary["arms"])
    if missing:
        print(f"error: {folder}: no run of bug-42688, it lacks {', '.join(sorted(missing))}", file=sys.stderr)
        return 2
    blocks = {name: made(run) for name, made in BLOCKS.items()}
    for name, text in blocks.items():
        print(f"{name}:\n\n{text}\n")
    PICTURES.mkdir(exist_ok=True)
    for name, draw in DRAWN.items():
        draw(run, PICTURES / name)
    PAGE.write_text(renewed(PAGE.read_text(), blocks))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.figures RUN")
    sys.exit(main(Path(sys.argv[1])))
