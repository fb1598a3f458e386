"""One run folder, loaded: what its summary says, with types, and its rows as DataFrames.

Nothing is written, no token is needed, and what is not asked for is not read. The figures are those of summary.json;
where that file is missing, of an earlier version, or says more than the trials still hold, the run is judged again, in
memory. A trial that is damaged is in none of the frames, and `problems` names it.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import LabFault, ScenarioError
from lab.record.run import Run as StoredRun
from lab.record.run import StoredTrial
from lab.report.judging import Examined, examined, kept_summary, scenario_fault, summary_of, unchecked_summary
from lab.report.loaded.arms import ArmSummary
from lab.report.loaded.place import find

if TYPE_CHECKING:
    import pandas as pd

    from lab.analysis.facts import TrialFacts


def load(path: str | Path | None = None) -> Run:
    """The run at that path; without one, results/latest, or results/reference where there is no latest.

    Raises ScenarioError where the path is no run folder, LabFault where nothing in it can be read.
    """
    place = find(path)
    try:
        return Run(StoredRun.open(place))
    except (ScenarioError, LabFault):  # it lost its scenario, so what it said of itself is all that there is
        if kept_summary(place) is None:
            raise
        return Run(StoredRun.open(place, scenario_needed=False))


class Run:
    """A run. All DataFrames are made when they are first asked for, and then kept; their columns: docs/api.md."""

    def __init__(self, stored: StoredRun) -> None:
        self._stored = stored

    @staticmethod
    def of(stored: StoredRun, summary: Mapping[str, Any], trials: Examined) -> Run:
        """One that was judged just now, as by a report that writes its summary first: it is not judged again."""
        run = Run(stored)
        run.__dict__.update(summary=summary, _examined=(trials, []))
        return run

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self.scenario}, {'valid' if self.valid else 'not valid'}>"

    @property
    def path(self) -> Path:
        return self._stored.path

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self._stored.name

    @property
    def scenario(self) -> str:
        """Name of the scenario."""
        return str(self.summary["scenario"])

    @property
    def question(self) -> str:
        """What the scenario asks; empty where it does not say."""
        return str(self.summary.get("question") or "")

    @property
    def seed(self) -> int:
        return int(self.summary["seed"])

    @property
    def valid(self) -> bool:
        """Whether its figures may be relied on."""
        return bool(self.summary["valid"])

    @property
    def why(self) -> tuple[str, ...]:
        """Why it is not valid; empty where it is."""
        return tuple(self.summary["invalid_because"])

    @property
    def partial(self) -> bool:
        """Whether it was interrupted, or trials of its plan are missing."""
        return bool(self.summary["partial"])

    @property
    def skipped(self) -> Mapping[str, str]:
        """Arms that could not run on that machine, and why."""
        return dict(self.summary.get("skipped") or {})

    @property
    def problems(self) -> tuple[str, ...]:
        """What of the folder is missing or damaged, one line each; empty where all is there."""
        return tuple(self._looked_at[1])

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Machine, versions, modules, load before and after, as in manifest.json; empty where that is missing."""
        return self._stored.manifest

    @property
    def settings(self) -> Mapping[str, Any]:
        """The scenario as resolved (scenario.json): every key of every arm."""
        return self._stored.scenario

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """All that summary.json says, or would say."""
        kept = kept_summary(self.path)
        fault = scenario_fault(self._stored)
        if fault is not None and (marked := unchecked_summary(self.path, fault)) is not None:
            return marked
        if kept is not None and not self.problems and self._holds(kept):
            return kept
        return summary_of(self._stored, *self._examined)

    @cached_property
    def arms(self) -> Mapping[str, ArmSummary]:
        """The arms by name, in the scenario's order; the first is the baseline."""
        return {name: ArmSummary.from_json(name, arm) for name, arm in self.summary["arms"].items()}

    @cached_property
    def arms_frame(self) -> pd.DataFrame:
        """One row per arm: its settings, counts and quantiles."""
        from lab.report.loaded import frames

        return frames.arms(self.arms.values())

    @cached_property
    def operations(self) -> pd.DataFrame:
        """One row per operation and per step of a set-up."""
        from lab.report.loaded import rows

        return rows.operations(self._trials, list(self.arms), self._usable)

    @cached_property
    def calls(self) -> pd.DataFrame:
        """One row per call of a PKCS#11 function."""
        from lab.report.loaded import rows

        return rows.calls(self._trials, list(self.arms), self._usable)

    def calls_of(self, trial: int) -> pd.DataFrame:
        """The rows of `calls` of one trial, without reading the others."""
        from lab.report.loaded import rows

        mine = [stored for stored in self._trials if stored.record.number == trial]
        return rows.calls(mine, list(self.arms), self._usable)

    @cached_property
    def facts(self) -> Mapping[int, TrialFacts]:
        """What was found in each trial, by its number, for what no DataFrame has."""
        return {facts.number: facts for _, facts in self._facts}

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """Open sessions over time: one row per change, of each process that opened any."""
        from lab.report.loaded import frames

        return frames.sessions(self._facts, list(self.arms))

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial with its main figures."""
        from lab.report.loaded import frames

        return frames.trials(self._facts, list(self.arms))

    @cached_property
    def failures(self) -> pd.DataFrame:
        """One row per trial, process and kind of failure; each single one is in `operations`, with outcome fail."""
        from lab.report.loaded import frames, rows

        when = {key: found for trial in self._trials for key, found in rows.when_failed(trial).items()}
        return frames.failures(self._facts, list(self.arms), when)

    @cached_property
    def rules(self) -> pd.DataFrame:
        """One row per trial and rule."""
        from lab.report.loaded import frames

        return frames.rules(self._facts, list(self.arms))

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """One row per metric and arm that is compared with the baseline."""
        from lab.report.loaded import frames

        return frames.comparisons(self.summary["comparisons"])

    @cached_property
    def _looked_at(self) -> tuple[list[StoredTrial], list[str]]:
        """Trials that can be read, and what is wrong with the rest of the folder."""
        found, problems = [], list(self._stored.faults)
        for folder in self._stored.trial_folders:
            try:
                trial = self._stored.trial(folder)
                for table in (trial.operations, trial.calls, trial.connections):
                    if not trial.record.tables:  # the only way to know that all of it can be decoded
                        collections.deque(table.values(), maxlen=0)
                found.append(trial)
            except LabFault as fault:
                problems.append(str(fault).replace(f"{self.path}/", ""))
        begun = [folder.name for folder in self._stored.unsealed if any(folder.glob("*.rows"))]
        problems += [f"trials/{name}: was begun and never sealed; `lab report` seals it" for name in begun]
        if not found:
            problems.append("there is no trial")
        return found, problems

    def _holds(self, summary: Mapping[str, Any]) -> bool:
        """Whether a summary is of the trials that there are, and of this version."""
        try:
            arms = [ArmSummary.from_json(name, arm) for name, arm in summary["arms"].items()]
            return sum(arm.trials for arm in arms) == len(self._trials) and "comparisons" in summary
        except (KeyError, TypeError, AttributeError):
            return False

    @property
    def _trials(self) -> list[StoredTrial]:
        return self._looked_at[0]

    @cached_property
    def _examined(self) -> tuple[Examined, list[str]]:
        return examined(self._stored)

    @property
    def _facts(self) -> Examined:
        return self._examined[0]

    @cached_property
    def _usable_trials(self) -> frozenset[int]:
        return frozenset(facts.number for _, facts in self._facts if facts.usable)

    def _usable(self, trial: int) -> bool:
        return trial in self._usable_trials
