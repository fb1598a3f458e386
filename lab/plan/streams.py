"""Independent streams of randomness from a scenario's seed, one for each purpose and place.

numpy's SeedSequence keeps streams of different spawn keys independent, and gives the same words in every version.
"""

from __future__ import annotations

from typing import Final

import numpy as np

ORDER: Final = 1  # of the arms in a block
TRIAL: Final = 2  # what a trial's workers draw
ARRIVALS: Final = 3  # when operations of a block are due
PILOT: Final = 4  # the seed of the pilot


def stream(seed: int, purpose: int, place: int) -> np.random.SeedSequence:
    """The stream of a purpose at a block or trial number."""
    return np.random.SeedSequence(seed, spawn_key=(purpose, place))
