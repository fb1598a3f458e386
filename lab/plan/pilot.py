"""The pilot of a scenario that leaves its number of blocks open: the same arms, a few blocks, a seed of its own.

Nothing of it is drawn from the streams of the measured trials, so these are the same with and without it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lab.plan.streams import PILOT, stream
from lab.scenario import Scenario

PILOT_BLOCKS: Final = 4
"""Enough for an upper limit of the spread that is not twice the spread; not so many that the pilot is the run."""


def pilot_of(scenario: Scenario) -> Scenario:
    """The scenario of the pilot."""
    seed = stream(scenario.seed, PILOT, 0).generate_state(1, np.uint64)[0]
    return scenario.model_copy(update={"blocks": PILOT_BLOCKS, "seed": int(seed) >> 1})
