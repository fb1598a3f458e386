"""Runs a scenario of the calibration with the pipeline that every run takes, in a private folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lab.plan import make
from lab.record import folder as run_folder
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


def run(text: str, out: Path, keeper: tuple[KeeperLine, Path], interrupt: Interrupt, progress: Progress) -> Run:
    """Every trial of the scenario, sealed in the folder `out`, which is made.

    Raises ScenarioError where a part of the machine is missing, LabFault where it gives up.
    """
    scenario = parse(text, "calibration")
    plan = make(scenario)
    private = keeper[1] / f"{scenario.name}-tokens"
    private.mkdir(mode=0o700)
    tls_preflight.check(scenario.arms, "calibration", private)
    check(scenario.arms, "calibration", private)
    folder = run_folder.create(out, scenario.name, text, datetime.now(UTC))
    write_json(folder / "scenario.json", scenario.to_json())
    write_json(folder / "plan.json", plan.to_json())
    with ready(scenario, folder / "keys", (keeper[0], private)) as bench:
        run_trials(scenario, plan, folder, bench, interrupt, progress)
    return Run.open(folder)
