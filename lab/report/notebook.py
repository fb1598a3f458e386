"""A notebook's cells, run here: `lab report` shows what notebooks/report.ipynb shows, and needs no Jupyter for it.

The notebooks of the lab are plain: no magics, nothing asynchronous, and what a cell shows is its last expression. So a
cell is run as Python runs a module, without a kernel of its own, its sockets and its second or two.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from lab.errors import LabFault

DISTRIBUTION: Final = "pkcs11-context-lab"
FOLDER: Final = "notebooks"


@dataclass(frozen=True)
class Cell:
    kind: Literal["markdown", "code"]
    source: str
    tags: frozenset[str]


def folder() -> Path:
    """Where the notebooks are: beside lab/ in a checkout, in lab/ where it is installed. Raises LabFault if nowhere."""
    package = Path(__file__).parents[1]
    places = [package.parent / FOLDER, package / FOLDER]
    try:
        places.append(Path(str(metadata.distribution(DISTRIBUTION).locate_file(f"lab/{FOLDER}"))))
    except metadata.PackageNotFoundError:
        pass  # a checkout that was never installed
    for place in places:
        if (place / "report.ipynb").is_file():
            return place
    raise LabFault(f"{FOLDER}/report.ipynb is neither in a checkout nor in the installed package")


def cells(path: Path) -> list[Cell]:
    """The cells of a notebook, in order. Raises LabFault where it is none."""
    try:
        found = json.loads(path.read_text("utf-8"))["cells"]
        return [
            Cell(cell["cell_type"], "".join(cell["source"]), frozenset(cell["metadata"].get("tags", ())))
            for cell in found
        ]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise LabFault(f"{path}: is no notebook ({problem!r})") from None


def shown(path: Path, given: Mapping[str, Any]) -> Iterator[tuple[Cell, Any]]:
    """Each cell with what it shows: a markdown cell its text, a code cell the value of its last expression, or None,
    and of a cell that failed the exception: the others go on, as in a notebook that is run to its end.

    given: names that are there from the start. Cells with the tag `parameters` or `open`, which would make them, are
    not run.
    """
    names: dict[str, Any] = {"__name__": "__notebook__", **given}
    for number, cell in enumerate(cells(path), start=1):
        if cell.tags & {"parameters", "open"}:
            continue
        value: Any = cell.source
        if cell.kind == "code":
            try:
                value = _value(cell.source, f"{path.name}[{number}]", names)
            except Exception as problem:
                value = problem
        yield cell, value


def _value(source: str, name: str, names: dict[str, Any]) -> Any:
    module = ast.parse(source, name)
    last = module.body.pop() if module.body and isinstance(module.body[-1], ast.Expr) else None
    exec(compile(module, name, "exec"), names)
    return eval(compile(ast.Expression(last.value), name, "eval"), names) if isinstance(last, ast.Expr) else None
