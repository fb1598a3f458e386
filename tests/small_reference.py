"""A small copy of the reference run: its first block alone, and ways to damage it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lab.record.intact import sha256_of

REFERENCE: Final = Path(__file__).parent.parent / "results" / "reference"
MANIFEST: Final = json.loads((REFERENCE / "manifest.json").read_text())
DAMAGED: Final = "trials/0003-shared"


def write_reference(folder: Path, blocks: int = 1, **changed: Any) -> Path:
    """The first blocks of the reference run, as if no more had been asked for. changed: keys of its scenario.json.

    Like a run of this version it has the hashes of its tables.
    """
    shutil.copytree(REFERENCE, folder, ignore=shutil.ignore_patterns("trials", "summary.json", "*.png", "tables"))
    edit_json(folder / "scenario.json", lambda scenario: scenario.update({"blocks": blocks, **changed}))
    plan = json.loads((folder / "plan.json").read_text())
    first = [trial for trial in plan["trials"] if trial["block"] <= blocks]
    edit_json(folder / "plan.json", lambda plan: plan.update({"blocks": blocks, "trials": first}))
    for trial in first:
        name = f"trials/{trial['number']:04d}-{trial['arm']}"
        shutil.copytree(REFERENCE / name, folder / name)
        seal_again(folder / name)
    return folder


def seal_again(trial: Path) -> None:
    """Writes the hashes of a trial's tables as they are now."""
    hashes = [[path.name, sha256_of(path)] for path in sorted(trial.glob("*.parquet"))]
    edit_json(trial / "trial.json", lambda record: record.update(tables=hashes))


def without_hashes(run: Path) -> None:
    """As an earlier version left it."""
    for path in run.glob("trials/*/trial.json"):
        edit_json(path, lambda record: record.pop("tables"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_column(path: Path, name: str, change: Callable[[NDArray[Any]], Any]) -> None:
    """Writes the file again with one column changed; `change` gets and gives an array."""
    table = pq.read_table(path)
    column = pa.array(change(table[name].to_numpy()))
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, column), path)


def drop_rows(path: Path, number: int) -> None:
    """The file without its last rows, and whole otherwise."""
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - number), path)


def cut(path: Path, kept: float) -> None:
    """The first part of the file alone."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])


def overwrite(path: Path) -> None:
    """Rubbish where the first rows were; the footer stays."""
    data = bytearray(path.read_bytes())
    data[100:1100] = bytes(np.full(1000, 0x55, np.uint8))
    path.write_bytes(data)


def rename_column(path: Path, name: str) -> None:
    table = pq.read_table(path)
    pq.write_table(table.rename_columns({name: f"{name}_"}), path)


def column(path: Path, name: str) -> NDArray[Any]:
    found: NDArray[Any] = pq.read_table(path)[name].to_numpy()
    return found
