"""A run of scenarios/bug-42688.toml as docs/bug-42688.md speaks of it: its arms, their trials, ratios between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from lab.analysis.comparisons import compare
from lab.analysis.facts import TrialFacts
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import SIDE
from lab.record.model import TrialRecord
from lab.record.names import FUNCTION_NUMBER
from lab.record.run import Run
from lab.report.judging import judge
from lab.report.words import MISSING, significant

PREPARED: Final = (
    *("A-prefork", "B-prefork", "neither-unnoticed", "A-worker", "B-worker", "A-4-hosts-by-ip", "B-4-hosts-by-ip"),
)
"""Arms of the lab's own server whose children can answer, in the order of the page."""
NEITHER: Final = ("neither-prefork", "neither-worker", "neither-unnoticed", "neither-p11kit-remote")
HTTPD: Final = ("httpd-prefork", "httpd-worker", "httpd-4-hosts-by-ip", "httpd-p11kit-proxy")
FIRST: Final = ("A-prefork", "B-prefork", "A-worker", "B-worker", *HTTPD)
PAIRS: Final = (
    ("A-prefork", "B-prefork"),
    ("A-worker", "B-worker"),
    ("A-4-hosts-by-ip", "B-4-hosts-by-ip"),
    ("A-prefork", "A-worker"),
    ("A-prefork", "A-4-hosts-by-ip"),
    ("B-prefork", "B-4-hosts-by-ip"),
    ("neither-unnoticed", "A-prefork"),
    ("neither-unnoticed", "B-prefork"),
)
COMPARED: Final = ("cold_ms.total", "processes.pss_mib_p50")
MARGIN: Final = 0.10


@dataclass
class Firsts:
    """Handshakes of one trial on its server, accept to end, in ms: the first of each process, and the later ones."""

    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)

    @staticmethod
    def of(connections: Table) -> Firsts:
        found = Firsts()
        served = (connections["side"] == SIDE["server"]) & (connections["outcome"] == columns.OK)
        lasted_ms = (connections["ended_ns"] - connections["opened_ns"]) / 1e6
        for process in np.unique(connections["process"][served]).tolist():
            own = np.flatnonzero(served & (connections["process"] == process))
            own = own[np.argsort(connections["opened_ns"][own], kind="stable")]
            found.first.append(float(lasted_ms[own[0]]))
            found.later += lasted_ms[own[1:]].tolist()
        return found


@dataclass(frozen=True)
class Measured:
    """A run: its summary, its manifest, and by arm its trials and their handshakes."""

    summary: dict[str, Any]
    manifest: Mapping[str, Any]
    trials: Mapping[str, Sequence[TrialFacts]]
    firsts: Mapping[str, Sequence[Firsts]]
    masters_ms: Sequence[float]  # C_Initialize in each master of httpd, the first in its process

    @staticmethod
    def read(folder: Path) -> Measured:
        """Raises ScenarioError where that is no run folder, LabFault where it cannot be read."""
        run = Run.open(folder)
        summary, judged = judge(run)
        trials: dict[str, list[TrialFacts]] = {arm: [] for arm in summary["arms"]}
        firsts: dict[str, list[Firsts]] = {arm: [] for arm in summary["arms"]}
        masters_ms: list[float] = []
        for path in run.trial_folders:
            stored = run.trial(path)
            facts = next((one for record, one in judged if record.number == stored.record.number), None)
            if facts is not None and facts.usable:
                table = stored.connections
                trials[facts.arm].append(facts)
                firsts[facts.arm].append(Firsts.of({name: table[name] for name in columns.CONNECTIONS}))
                masters_ms += _masters_ms(stored.record, stored.calls)
        return Measured(summary, run.manifest, trials, firsts, masters_ms)

    def arm(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.summary["arms"][name]
        return found

    def figures(self, arm: str, metric: str) -> list[float]:
        """The figure of each trial that has it."""
        found = [trial.figures().get(metric) for trial in self.trials[arm]]
        return [value for value in found if value is not None]

    def middle(self, arm: str, metric: str) -> float | None:
        values = self.figures(arm, metric)
        return median(values) if values else None

    def ratio(self, baseline: str, arm: str, metric: str) -> tuple[float | None, tuple[float, float] | None]:
        """arm / baseline, block by block, and its 95 % interval."""
        pair = {name: self.trials[name] for name in (baseline, arm)}
        (found,) = compare([baseline, arm], pair, {metric: MARGIN}, self.summary["seed"])
        return found.ratio, found.ci


def times(found: tuple[float | None, tuple[float, float] | None]) -> str:
    """A ratio as the page shows it: `3.1 [2.9, 3.4]`."""
    ratio, ci = found
    if ratio is None:
        return MISSING
    return _ratio(ratio) + (f" [{', '.join(_ratio(end) for end in ci)}]" if ci else "")


def told_apart(found: tuple[float | None, tuple[float, float] | None]) -> str:
    """A ratio, and whether this run can tell it from 1 at all."""
    _, ci = found
    open_ = ci is not None and ci[0] <= 1 <= ci[1]
    return times(found) + (" (which this run cannot tell from 1)" if open_ else "")


def _ratio(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 10 else significant(value)


def _masters_ms(record: TrialRecord, calls: Table) -> list[float]:
    masters = [process.index for process in record.processes if process.role == "master"]
    first = np.isin(calls["process"], masters) & (calls["function"] == FUNCTION_NUMBER["C_Initialize"])
    lasted_ns = calls["ended_ns"][first] - calls["started_ns"][first]
    return [float(lasted) / 1e6 for lasted in lasted_ns[:1]]


def first_of(trial: Firsts) -> list[float]:
    return trial.first


def later_of(trial: Firsts) -> list[float]:
    return trial.later


def middles(trials: Iterable[Firsts], part: Callable[[Firsts], list[float]]) -> list[float]:
    """The median of each trial that has any."""
    return [median(part(trial)) for trial in trials if trial.first and trial.later]
