"""The two-level bootstrap of a share or a rate: trials are drawn, and within a trial moving blocks of its time.

What is drawn anew are sums over time slices: y (operations not above some duration, or operations done) over x (all
operations, or seconds). Both levels are needed. Trials differ from each other in more than chance, so they are drawn
with all that is in them (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Operations
resemble their neighbours in time, so what is drawn within a trial are blocks of neighbouring slices, of any beginning
and closed to a circle (Kuensch 1989; Politis and Romano 1992). How long a block must be follows from the
autocorrelation of the slices, by the rule of Politis and White, Automatic block-length selection for the dependent
bootstrap, Econometric Reviews 23 (2004), 53-70, corrected by Patton, Politis and White, ibid. 28 (2009), 372-375.

Drawn naively, the two levels count what happens within trials twice, since the sums of whole trials scatter by it
already. So the trials' sums are first pulled together until both levels scatter as the trials do (the shrinkage of
Davison and Hinkley, section 3.8); where trials scatter no more than their own slices explain, the first level
vanishes, and the slices alone are told. What few trials tell of their scatter is too small by n / (n - 1), and its own
uncertainty is that of Student's t with n - 1 degrees of freedom: the deviations are widened by both (Hesterberg, What
teachers should know about the bootstrap, The American Statistician 69 (2015), 371-386). By t only as far as the scatter
is not explained by slices, of which there are many: in full, intervals of trials that are alike are wider than needed.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

REPLICATES: Final = 1000
LEVEL: Final = 0.95
LEAST_TRIALS: Final = 6
_MOST_BLOCKS: Final = 64  # of one trial: blocks are not shorter than a 64th of it, which costs nothing but time

Sums = NDArray[np.floating[Any]]


def deviations(
    y: Sums, x: Sums, random: np.random.Generator, replicates: int = REPLICATES, skew: float = 0.0
) -> NDArray[np.float64]:
    """How far the ratio of sums, sum(y) / sum(x), may be off: one deviation for each replicate.

    y, x: of each trial (rows) and slice (columns), two trials or more, x not all 0. skew: by which part those below 0
    are widened where all scatter is that of trials, and proportionally less where slices explain a part of it; those
    above 0 are widened by half of that.
    """
    trials, slices = y.shape
    of_trials = y.sum(axis=1) - x.sum(axis=1) * (y.sum() / x.sum())  # their sum is 0
    within = _residuals(y, x)
    length = max(block_length(within), -(-slices // _MOST_BLOCKS))
    blocks = _circular_sums(within, length)
    number = -(-slices // length)
    share = slices / length  # of a whole trial in the variance of one block
    between = float((of_trials**2).sum()) / (trials - 1)
    inside = share * float((blocks**2).mean())
    shrunk = max(0.0, 1 - inside / between) if between > 0 else 0.0
    drawn = random.integers(trials, size=(replicates, trials))
    found = of_trials[drawn].sum(axis=1) * math.sqrt(shrunk * trials / (trials - 1))
    flat, scale = blocks.ravel(), math.sqrt(share / number)
    for place in range(trials):
        starts = random.integers(slices, size=(replicates, number), dtype=np.uint16)
        found += scale * flat[drawn[:, place, None] * slices + starts].sum(axis=1)
    if shrunk:
        from scipy import stats  # half a second of every report, where most have too few trials

        few = float(stats.t.ppf((1 + LEVEL) / 2, trials - 1) / stats.norm.ppf((1 + LEVEL) / 2))
        found *= 1 + shrunk * (few - 1)
        found *= 1 + shrunk * np.where(found < 0, skew, skew / 2)
    return np.asarray(found / x.sum(), dtype=np.float64)


def ends(found: NDArray[np.float64]) -> tuple[float, float]:
    """Between which the middle 95 % of the deviations lie."""
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def block_length(within: NDArray[np.float64]) -> int:
    """Slices in a block, for series of mean 0 (rows), which have one autocorrelation; from 1 to 3 sqrt(slices).

    Autocovariances are averaged over the series. With a flat-top window, for a circular bootstrap, as Politis and White
    have it.
    """
    slices = within.shape[1]
    most = min(math.ceil(3 * math.sqrt(slices)), slices // 3)
    spectrum = np.abs(np.fft.rfft(within, 2 * slices, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum.sum(axis=0))[:slices] / within.size
    if covariance[0] <= 0:
        return 1
    correlation = covariance / covariance[0]
    look_ahead = max(5, math.ceil(math.sqrt(math.log10(slices))))
    noise = 2 * math.sqrt(math.log10(within.size) / within.size)
    quiet = np.abs(correlation[1 : most + look_ahead + 1]) < noise
    runs = np.convolve(quiet, np.ones(look_ahead, int), "valid") == look_ahead
    last = int(np.argmax(runs)) if runs.any() else most  # the lag after which nothing is left
    lags = np.arange(1, min(2 * max(last, 1), slices - 1) + 1)
    window = np.clip(2 * (1 - lags / lags[-1]), 0, 1)
    bend = 2 * float((window * lags * covariance[lags]).sum())
    power = float(covariance[0]) + 2 * float((window * covariance[lags]).sum())
    if power <= 0:
        return 1
    return int(min(most, max(1, math.ceil((1.5 * (bend / power) ** 2 * slices) ** (1 / 3)))))


def _residuals(y: Sums, x: Sums) -> NDArray[np.float64]:
    """What each slice has more, or less, than its trial's own ratio would give it."""
    total = x.sum(axis=1, keepdims=True)
    own = np.divide(y.sum(axis=1, keepdims=True), total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)
    return np.asarray(y - own * x, dtype=np.float64)


def _circular_sums(series: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Of each slice, the sum of the `length` slices that begin with it."""
    wrapped = np.concatenate([np.zeros((series.shape[0], 1)), series, series[:, : length - 1]], axis=1)
    summed = np.cumsum(wrapped, axis=1)
    found: NDArray[np.float64] = summed[:, length:] - summed[:, :-length]
    return found
