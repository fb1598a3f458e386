"""The pilot of a run whose scenario says blocks = "auto", and the plan that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.console import Console

from lab.analysis.arms import arms_of
from lab.analysis.piloted import choose
from lab.commands.progress import Progress
from lab.plan import PILOT_BLOCKS, Plan, make, pilot_of
from lab.record.folder import write_json
from lab.record.run import Run
from lab.report.judging import examined
from lab.report.words import blocks_chosen
from lab.scenario import Scenario
from lab.scenario.written import DEFAULT_BLOCKS
from lab.topology.interrupt import Interrupt
from lab.topology.line import KeeperLine
from lab.topology.run import Tokens, run_trials

PILOT: Final = "pilot"
"""Folder in the run's; nothing that reads trials looks into it."""


def by_pilot(
    scenario: Scenario, folder: Path, bench: tuple[KeeperLine, Tokens, Path], interrupt: Interrupt, quiet: bool
) -> Plan | None:
    """Runs the pilot, and plans as many blocks as it asks for; None where the user interrupted. Raises LabFault."""
    pilot = pilot_of(scenario)
    plan, place = make(pilot), folder / PILOT
    (place / "trials").mkdir(parents=True)
    write_json(place / "plan.json", plan.to_json())
    with Progress(len(plan.trials), quiet, PILOT) as progress:
        run_trials(pilot, plan, place, bench, interrupt, progress.trial)
    if interrupt.wanted:
        return None
    trials, _ = examined(Run(place, pilot.to_json(), plan.to_json(), {}))
    arms = arms_of(pilot.to_json())
    choice = choose(arms, [facts for _, facts in trials], scenario.margin, PILOT_BLOCKS, DEFAULT_BLOCKS)
    told = {"blocks": PILOT_BLOCKS, **choice.to_json()}
    line = blocks_chosen({**told, "blocks": choice.blocks, "pilot": PILOT_BLOCKS})
    Console(stderr=True, quiet=quiet).print(line, markup=False, highlight=False, soft_wrap=True)
    return make(scenario, choice.blocks, told)
