"""Runs a scenario of the calibration with the pipeline that every run takes, in a private folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.plan import arrivals, make
from lab.record import folder as run_folder
from lab.record import manifest
from lab.record.folder import write_json
from lab.record.run import Run
from lab.scenario import parse
from lab.tokens.preflight import check
from lab.topology import tls_preflight
from lab.topology.interrupt import Interrupt
from lab.topology.line import KeeperLine
from lab.topology.run import Progress, ready, run_trials


def planned_trials(text: str) -> int:
    return len(make(parse(text, "calibration")).trials)


def due(text: str, arm: str) -> tuple[NDArray[np.int64], ...]:
    """The planned arrivals of an arm in the first block, ns after the release, for each thread."""
    scenario = parse(text, "calibration")
    return arrivals(next(each for each in scenario.arms if each.name == arm), scenario.seed, block=1)


def preflight(text: str, private: Path) -> None:
    """Raises ScenarioError where something that the scenario needs is not installed."""
    scenario = parse(text, "calibration")
    tls_preflight.check(scenario.arms, "calibration", private)
    check(scenario.arms, "calibration", private)


def run(text: str, out: Path, keeper: tuple[KeeperLine, Path], interrupt: Interrupt, progress: Progress) -> Run:
    """Every trial of the scenario, sealed in the folder `out`, which is made.

    Raises LabFault where the machine gives up.
    """
    scenario = parse(text, "calibration")
    plan = make(scenario)
    private = keeper[1] / f"{scenario.name}-tokens"
    private.mkdir(mode=0o700)
    folder = run_folder.create(out, scenario.name, text, datetime.now(UTC))
    write_json(folder / "scenario.json", scenario.to_json())
    write_json(folder / "plan.json", plan.to_json())
    facts = {"machine": manifest.machine(), "versions": manifest.versions(), "seed": scenario.seed}
    write_json(folder / "manifest.json", {**facts, "before": manifest.now()})
    with ready(scenario, folder / "keys", (keeper[0], private)) as bench:
        run_trials(scenario, plan, folder, bench, interrupt, progress)
    return Run.open(folder)
