"""How many blocks would decide a comparison that was left inconclusive.

If the mean log-ratio of a further run were about the one that was seen, and its blocks scattered like those that were
seen, how long must the run be for its interval to clear the margin, on whichever side, four times in five?
The interval is reckoned with Student's t, which the sign-flip interval is close to; for `faster` and `slower` at the
level that is left to one of several metrics (Bonferroni, so it is never too small for Holm).

Few blocks tell little of how they scatter, and a number from the scatter as seen is too small half of the time. So
the scatter's upper confidence limit of 80 % is taken in its place (Browne, On the use of a pilot sample for sample size
determination, Statistics in Medicine 14 (1995), 1933-1940).

The number is that of a run of its own. To go on with a run until it decides would find differences that are not there.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis.signflip import LEAST_BLOCKS

LEVEL: Final = 0.05
POWER: Final = 0.80
CONFIDENCE: Final = 0.80
MOST: Final = 1000  # what a scenario can ask for
_BLOCKS: Final = np.arange(LEAST_BLOCKS, MOST + 1)


def least_blocks(metrics: int) -> int:
    """The fewest blocks with which a difference in one of so many metrics can be found at all.

    >>> [least_blocks(metrics) for metrics in (1, 2, 3, 4, 6, 7)]
    [6, 7, 7, 8, 8, 9]
    """
    return max(LEAST_BLOCKS, math.floor(1 + math.log2(metrics / LEVEL)) + 1)


def blocks_to_decide(differences: NDArray[np.float64], margin: float, metrics: int = 1) -> int | None:
    """Blocks of a run that would probably decide; None where no run of up to 1,000 would, or none can be told.

    differences: the log-ratios of the blocks that were seen, at least two. margin: as a fraction. metrics: how many
    are judged together.
    """
    seen = differences.size
    if seen < 2:
        return None
    power = _power(float(differences.mean()), likely_spread(differences), margin, metrics)
    enough = np.flatnonzero(power >= POWER)
    return max(int(_BLOCKS[enough[0]]), seen + 1) if enough.size else None


def blocks_for(spread: float, margin: float, metrics: int = 1) -> int | None:
    """Blocks of a run that would probably decide, whatever a pilot's mean was; None where not even 1,000 would.

    Four runs in five decide if the arms are truly alike, and four in five if they differ by twice the margin. Between
    the two, near the margin itself, no number of blocks could promise that. spread: of the log-ratios of blocks.
    """
    alike, apart = (_power(mean, spread, margin, metrics) for mean in (0.0, 2 * math.log1p(margin)))
    enough = np.flatnonzero(np.minimum(alike, apart) >= POWER)
    return int(_BLOCKS[enough[0]]) if enough.size else None


def _power(mean: float, spread: float, margin: float, metrics: int) -> NDArray[np.float64]:
    """Probability that a run of each number of blocks decides, for a true mean and spread of its log-ratios."""
    from scipy import stats  # half a second of every report, where most have nothing to decide

    error = np.maximum(spread, 1e-12) / np.sqrt(_BLOCKS)
    edge = math.log1p(margin)
    inside = edge - _students(LEVEL) * error
    beyond = edge + _students(LEVEL / metrics) * error
    equivalent = stats.norm.cdf((inside - mean) / error) - stats.norm.cdf((-inside - mean) / error)
    different = stats.norm.sf((beyond - mean) / error) + stats.norm.cdf((-beyond - mean) / error)
    different[least_blocks(metrics) > _BLOCKS] = 0
    decided: NDArray[np.float64] = np.maximum(equivalent, 0) + different
    return decided


def likely_spread(differences: NDArray[np.float64]) -> float:
    """The upper confidence limit of their standard deviation."""
    from scipy import stats  # as above

    free = differences.size - 1
    spread = float(differences.std(ddof=1))
    return spread * math.sqrt(free / float(stats.chi2.ppf(1 - CONFIDENCE, free)))


@lru_cache
def _students(level: float) -> NDArray[np.float64]:
    """Half-widths of intervals in standard errors, for each number of blocks."""
    from scipy import stats  # as above

    found: NDArray[np.float64] = np.asarray(stats.t.ppf(1 - level / 2, _BLOCKS - 1))
    return found
