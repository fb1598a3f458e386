"""A run folder, read: its scenario, its plan, and its trials one after the other. Needs no token and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab.errors import LabFault, ScenarioError
from lab.record.columns import CALLS, CONNECTIONS, OPERATIONS, YOUNGER, Table
from lab.record.folder import name_of
from lab.record.intact import check_columns, check_files
from lab.record.model import TrialRecord
from lab.record.table import ParquetTable

LEFT_AFTER_SEALING: Final = ("*.rows", "begun.json", "*.partial")


@dataclass(frozen=True)
class StoredTrial:
    """A sealed trial; its tables load rows when they are asked for."""

    folder: Path
    record: TrialRecord
    operations: Table
    calls: Table
    connections: Table


@dataclass(frozen=True)
class Run:
    """scenario: as resolved; plan, manifest: as stored, empty where the run ended before it wrote them."""

    path: Path
    scenario: Mapping[str, Any]
    plan: Mapping[str, Any]
    manifest: Mapping[str, Any]
    unread: tuple[str, ...] = ()  # why one of these is empty where it should not be

    @staticmethod
    def open(path: Path, scenario_needed: bool = True) -> Run:
        """Raises ScenarioError where the path is no run folder, LabFault where its scenario.json cannot be read.

        scenario_needed: without it, a folder that has lost its scenario has an empty one.
        """
        if not path.is_dir():
            raise ScenarioError(
                f"{path}: {'is not a folder' if path.exists() else 'does not exist'}; give a run folder"
            )
        scenario = path / "scenario.json"
        if scenario_needed and not scenario.is_file():
            raise ScenarioError(f"{path}: is no run folder (it has no scenario.json)")
        beside, unread = {}, []
        for name in ("scenario.json", "plan.json", "manifest.json"):
            try:
                beside[name] = _object(path / name)
            except LabFault as fault:
                if scenario_needed and name == "scenario.json":
                    raise
                beside[name] = {}
                unread.append(str(fault).replace(f"{path}/", ""))
        return Run(path, beside["scenario.json"], beside["plan.json"], beside["manifest.json"], tuple(unread))

    @property
    def name(self) -> str:
        """The folder's own name."""
        return name_of(self.path)

    @property
    def trial_folders(self) -> list[Path]:
        """Folders of trials that were sealed, in the plan's order."""
        return sorted(found.parent for found in self.path.glob("trials/*/trial.json"))

    @property
    def unsealed(self) -> list[Path]:
        """Folders of trials that were begun and never sealed."""
        return sorted(
            found for found in self.path.glob("trials/*") if found.is_dir() and not (found / "trial.json").exists()
        )

    def sweep(self) -> None:
        """Removes what a sealing that was cut off left in trials that are sealed."""
        for folder in self.trial_folders:
            for pattern in LEFT_AFTER_SEALING:
                for path in folder.glob(pattern):
                    path.unlink()

    @property
    def planned_trials(self) -> int | None:
        """How many trials the plan has; None where that is not known."""
        if isinstance(trials := self.plan.get("trials"), list):
            return len(trials)
        blocks, arms = self.scenario.get("blocks"), self.scenario.get("arms")
        return blocks * len(arms) if isinstance(blocks, int) and isinstance(arms, list | dict) else None

    @property
    def partial(self) -> bool:
        """Whether trials of the plan are missing."""
        planned = self.planned_trials
        return bool(self.unsealed) or (planned is not None and len(self.trial_folders) < planned)

    @property
    def faults(self) -> tuple[str, ...]:
        """What of the folder is missing or cannot be read, besides what is damaged in sealed trials; a line each.

        That the last trials of the plan are missing is none: the run was interrupted.
        """
        found = list(self.unread)
        for folder in self.unsealed:
            if any(folder.glob("*.parquet")) and not any(folder.glob("*.rows")):
                found.append(f"trials/{folder.name}/trial.json: is missing")
        numbers = {int(folder.name[:4]) for folder in self.path.glob("trials/[0-9][0-9][0-9][0-9]-*")}
        last = max(numbers, default=0)
        gone = [str(number) for number in range(1, last) if number not in numbers]
        if gone:
            found.append(f"trials: {', '.join(gone)} of the first {last} {'is' if len(gone) == 1 else 'are'} missing")
        return tuple(found)

    def trial(self, folder: Path) -> StoredTrial:
        """One sealed trial. Raises LabFault where its files are not what seal() writes, or no longer."""
        path = folder / "trial.json"
        try:
            record = TrialRecord.from_json(_object(path))
        except TypeError as problem:
            if "unexpected keyword argument" in str(problem):
                unknown = str(problem).rpartition(" ")[2]
                raise LabFault(f"{path}: has {unknown}, which this version of the lab does not know") from None
            raise LabFault(f"{path}: is no record of a trial ({problem})") from None
        except (KeyError, ValueError) as problem:
            raise LabFault(f"{path}: is no record of a trial ({problem!r})") from None
        check_files(folder, record)
        found = StoredTrial(
            folder,
            record,
            ParquetTable.open(folder / "operations.parquet", OPERATIONS, YOUNGER),
            ParquetTable.open(folder / "calls.parquet", CALLS),
            _connections(folder / "connections.parquet"),
        )
        if not record.tables:
            check_columns(folder / "operations.parquet", found.operations)
            check_columns(folder / "calls.parquet", found.calls)
        return found

    def trials(self) -> Iterator[StoredTrial]:
        """Each sealed trial. Raises LabFault at the first that is damaged."""
        for folder in self.trial_folders:
            yield self.trial(folder)


def _connections(path: Path) -> Table:
    """Trials without handshakes have no such file."""
    if not path.exists():
        return {name: np.empty(0, dtype) for name, dtype in CONNECTIONS.items()}
    return ParquetTable.open(path, CONNECTIONS, YOUNGER)


def _object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise LabFault(f"{path}: is missing") from None
    except OSError as problem:
        raise LabFault(f"{path}: cannot be read ({problem.strerror})") from None
    except ValueError as problem:
        raise LabFault(f"{path}: is not JSON ({problem})") from None
    if not isinstance(data, dict):
        raise LabFault(f"{path}: is not a JSON object")
    return data
