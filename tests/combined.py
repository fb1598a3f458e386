"""Many arms in one run of the lab, because starting is what takes time, and each arm's trial as it was sealed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from lab.record.dtypes import KIND, LOCKING, PHASE, SIDE
from lab.record.names import ckr_name, function_name
from tests.runs import Place

LOAD_PHASES = ("warmup", "measured")
OPERATION_KINDS = ("null", "sign", "random", "session_churn", "handshake")

Tables = Mapping[str, Mapping[str, Any]]


def text(base: str, arms: Mapping[str, Tables]) -> str:
    """A scenario of one block: `base` as it is, and an [[arm]] for each."""
    return "".join(["blocks = 1\n", base, *(_arm(name, tables) for name, tables in arms.items())])


def _arm(name: str, tables: Tables) -> str:
    lines = [f"{table} = {inline(keys)}\n" for table, keys in tables.items()]
    return "".join([f"[[arm]]\nname = {json.dumps(name)}\n", *lines])


def inline(keys: Mapping[str, Any]) -> str:
    """A table as TOML writes it in one line."""
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in keys.items()) + " }"


def _value(value: Any) -> str:
    return inline(value) if isinstance(value, Mapping) else json.dumps(value)


@dataclass(frozen=True)
class Sealed:
    """One arm of a run of one block: its part of summary.json, and its only trial."""

    arm: Mapping[str, Any]
    folder: Path

    @cached_property
    def trial(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "trial.json").read_text())
        return found

    @cached_property
    def operations(self) -> pd.DataFrame:
        """operations.parquet with the names of kinds and phases for their numbers."""
        frame = _read(self.folder / "operations.parquet")
        kinds, phases = ({number: name for name, number in names.items()} for names in (KIND, PHASE))
        return frame.assign(kind=frame.kind.map(kinds), phase=frame.phase.map(phases))

    @cached_property
    def calls(self) -> pd.DataFrame:
        """calls.parquet with the names of functions and CKR codes for their numbers, ascending in time."""
        frame = _read(self.folder / "calls.parquet")
        names = {number: name for name, number in LOCKING.items()}
        named = frame.assign(
            function=frame.function.map(function_name), ckr=frame.ckr.map(ckr_name), locking=frame.locking.map(names)
        )
        return named.sort_values("started_ns", kind="stable")

    @cached_property
    def connections(self) -> pd.DataFrame:
        """connections.parquet: what both ends of each connection saw."""
        sides = {number: name for name, number in SIDE.items()}
        frame = _read(self.folder / "connections.parquet")
        return frame.assign(side=frame.side.map(sides))

    def connections_of(self, side: str) -> pd.DataFrame:
        return self.connections[self.connections.side == side]

    @property
    def workers(self) -> list[dict[str, Any]]:
        return [process for process in self.trial["processes"] if process["role"] == "worker"]

    @property
    def generators(self) -> list[dict[str, Any]]:
        return [process for process in self.trial["processes"] if process["role"] == "generator"]

    @property
    def root(self) -> dict[str, Any]:
        found: dict[str, Any] = self.trial["processes"][0]
        return found

    def operations_of(self, process: int, phases: Iterable[str] = PHASE) -> pd.DataFrame:
        """Rows of what the workload does, not of the steps of the set-up."""
        rows = self.operations[self.operations.process == process]
        return rows[rows.kind.isin(OPERATION_KINDS) & rows.phase.isin(list(phases))]

    def calls_of(self, process: int, *functions: str) -> pd.DataFrame:
        rows = self.calls[self.calls.process == process]
        return rows[rows.function.isin(functions)] if functions else rows


def _read(path: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(path).to_pandas()
    return frame


def sealed(place: Place) -> dict[str, Sealed]:
    """Each arm of a run of one block."""
    arms = place.summary()["arms"]
    folders = {json.loads(path.read_text())["arm"]: path.parent for path in place.out.glob("trials/*/trial.json")}
    assert folders.keys() == arms.keys()
    return {name: Sealed(arm, folders[name]) for name, arm in arms.items()}


def run(
    folder: Path,
    base: str,
    arms: Mapping[str, Tables],
    *options: str,
    elsewhere: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Sealed]:
    """Runs all arms once; the run is valid and leaves nothing behind. elsewhere: as of a Place."""
    folder.mkdir(exist_ok=True)
    place, path = Place(folder, elsewhere), folder / "combined.toml"
    path.write_text(text(base, arms))
    done = place.run(path, "--quiet", *options, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.leftovers() == []
    return sealed(place)
