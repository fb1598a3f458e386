"""The exact sign-flip test of paired differences, and the interval that inverts it.

If two arms do not differ, each block's log-ratio is as likely to be negative as positive, so the observed mean is
compared with the means under all 2^n sign patterns (Fisher 1935; Pitman 1937). No normality is assumed, and nothing
is pooled across blocks. The interval holds all shifts that the test does not reject. Its ends are order statistics of
the means of all non-empty subsets of the differences (Hartigan 1969, "Using subsample values as typical values", JASA
64, 1303-1317): with N = 2^n patterns and k = floor(N * alpha / 2), the k-th smallest and the k-th largest. With fewer
than 6 differences k is 0 at 95 %, and there is no interval.

Above EXACT_BLOCKS differences, patterns and subsets are drawn with the seed that is passed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LEAST_BLOCKS: Final = 6
EXACT_BLOCKS: Final = 15
DRAWS: Final = 2**EXACT_BLOCKS - 1


def p_value(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided p of the hypothesis that the differences are symmetric around 0 (scipy.stats.permutation_test)."""
    from scipy import stats  # half a second of every report, where most have nothing to test

    result = stats.permutation_test(
        (differences,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=DRAWS + 1,  # exact where there are no more patterns than this
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def interval(differences: NDArray[np.float64], level: float = 0.95, seed: int = 0) -> tuple[float, float] | None:
    """The shifts that the two-sided test at 1 - level does not reject; None where there are too few differences."""
    n = differences.size
    if n <= EXACT_BLOCKS:
        chosen = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1 == 1
    else:
        chosen = np.random.default_rng(seed).random((DRAWS, n)) < 0.5
        chosen = chosen[chosen.any(axis=1)]
    if not len(chosen):
        return None
    means = np.sort(chosen @ differences / chosen.sum(axis=1))
    k = int((len(means) + 1) * (1 - level) / 2 + 1e-9)
    return (float(means[k - 1]), float(means[-k])) if k else None


def _mean(sample: NDArray[np.float64], axis: int = -1) -> Any:
    return np.mean(sample, axis=axis)
