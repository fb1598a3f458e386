"""Trials in blocks, one trial of every arm in each, in random order.

Random order inside blocks keeps what drifts on the machine (heat, other users) from falling on one arm: Fisher, The
Design of Experiments, 1935, chapter IV.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.plan.streams import ORDER, TRIAL, stream
from lab.scenario import Scenario


@dataclass(frozen=True)
class PlannedTrial:
    number: int  # from 1, in the order of running
    block: int  # from 1
    arm: str
    seed: int  # 63 bits, of this trial alone, for what its workers draw


@dataclass(frozen=True)
class Plan:
    scenario: str
    seed: int
    blocks: int
    trials: tuple[PlannedTrial, ...]
    pilot: Mapping[str, Any] | None = None  # what chose the number of blocks, where the scenario left it open

    def to_json(self) -> dict[str, Any]:
        """What plan.json holds. Arrival times are not in it: they follow from the seed, and rows keep what was used."""
        data = asdict(self)
        if self.pilot is None:
            del data["pilot"]
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Plan:
        """Raises TypeError or KeyError where the data are not a Plan's."""
        return Plan(**{**data, "trials": tuple(PlannedTrial(**trial) for trial in data["trials"])})


def make(scenario: Scenario, blocks: int | None = None, pilot: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a scenario; the same for the same arms, blocks and seed, on every machine and with every numpy.

    blocks: how many, where the scenario says "auto". pilot: what chose that number.
    """
    blocks = blocks or (scenario.blocks if scenario.blocks != "auto" else None)
    if blocks is None:
        raise ValueError("the number of blocks is not chosen yet")
    trials: list[PlannedTrial] = []
    for block in range(1, blocks + 1):
        # sorting raw words, because numpy keeps these between versions, and not what Generator makes of them (NEP 19)
        words = np.random.PCG64(stream(scenario.seed, ORDER, block)).random_raw(len(scenario.arms))
        for place in np.argsort(words, kind="stable"):
            number = len(trials) + 1
            own = stream(scenario.seed, TRIAL, number).generate_state(1, np.uint64)[0]
            trials.append(PlannedTrial(number, block, scenario.arms[place].name, int(own) >> 1))
    return Plan(scenario.name, scenario.seed, blocks, tuple(trials), pilot)
