"""Two samples that are not paired: the permutation test of their means, and the interval that inverts it.

If two runs do not differ, which figure came from which is chance: the observed difference of the means is compared with
the differences under all C(n + m, n) ways to deal the figures out (Fisher 1935; Pitman 1937, "Significance tests which
may be applied to samples from any populations", JRSS Supplement 4, 119-130). The interval holds all shifts that the
test does not reject. A regrouping that swaps k figures A of the first for k figures B of the second has a difference
no smaller than the observed one, once the second sample is shifted down by d, just where d >= mean(B) - mean(A). So the
ends are order statistics of these differences over all regroupings but the one observed (the two-sample form of
Hartigan's typical values, see signflip.py): with N regroupings and k = floor(N * alpha / 2), the k-th smallest and the
k-th largest. Two samples of 3 have no interval at 95 %, two of 4 have one.

Above EXACT regroupings they are drawn with the seed that is passed.

The test asks for samples that differ by a shift alone. With as many figures in both it also holds, nearly, where their
spreads differ (Romano 1990, "On the behavior of randomization tests without a group invariance assumption", JASA 85,
686-692); with unequal numbers it does not, and Welch's t-test (Biometrika 34, 1947, 28-35) takes its place.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

EXACT: Final = 2**14
DRAWS: Final = EXACT - 1
LEAST_WELCH: Final = 6  # figures of each; with fewer, normal means are no more than a hope

Sample = NDArray[np.float64]


def p_value(first: Sample, second: Sample, seed: int = 0) -> float:
    """Two-sided p of the permutation test of the means (scipy.stats.permutation_test)."""
    from scipy import stats  # half a second of every report, where most have nothing to test

    result = stats.permutation_test(
        (second, first),
        _difference,
        vectorized=True,
        n_resamples=DRAWS + 1,  # exact where there are no more regroupings than this
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def interval(first: Sample, second: Sample, level: float = 0.95, seed: int = 0) -> tuple[float, float] | None:
    """Shifts of `second` against `first` that the test at 1 - level does not reject; None with too few figures."""
    n, m = first.size, second.size
    together = np.concatenate([first, second])
    if comb(n + m, n) <= EXACT:
        dealt = _all_deals(n, m)
    else:
        chance = np.random.default_rng(seed).random((DRAWS, n + m))
        dealt = np.argsort(np.argsort(chance, axis=1), axis=1) < n
    came = dealt[:, n:]  # of the second sample, to the first
    went = ~dealt[:, :n]
    swapped = came.sum(axis=1)
    moved = swapped > 0
    shifts = (came[moved] @ together[n:] - went[moved] @ together[:n]) / swapped[moved]
    shifts.sort()
    k = int((shifts.size + 1) * (1 - level) / 2 + 1e-9)
    return (float(shifts[k - 1]), float(shifts[-k])) if k else None


def welch(first: Sample, second: Sample, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """Two-sided p of Welch's t-test and the interval of mean(second) - mean(first)."""
    from scipy import stats  # as above

    result = stats.ttest_ind(second, first, equal_var=False)
    ends = result.confidence_interval(level)
    return float(result.pvalue), (float(ends.low), float(ends.high))


@lru_cache(maxsize=4)
def _all_deals(n: int, m: int) -> NDArray[np.bool_]:
    """Each way to deal n + m figures out, a row each: who gets to the first sample."""
    chosen = np.array(list(combinations(range(n + m), n)), np.intp).reshape(comb(n + m, n), n)
    dealt = np.zeros((len(chosen), n + m), np.bool_)
    dealt[np.arange(len(chosen))[:, None], chosen] = True
    return dealt


def _difference(one: Sample, other: Sample, axis: int = -1) -> Any:
    return np.mean(one, axis=axis) - np.mean(other, axis=axis)
