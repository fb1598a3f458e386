"""95 % intervals of one arm's own figures: what another run of so many trials might have shown.

That of a quantile comes from that of the share of operations that are not above it (Woodruff, Confidence intervals for
medians and other position measures, Journal of the American Statistical Association 47 (1952), 635-646): the share is
drawn anew (bootstrap.py), and where it may be off by so much, the quantile may be any between those that lie as far to
both sides. Near 0 and 1 a share cannot be off by as much to one side as to the other, so the distance is that of
log-odds; and since trials agree less on what is rare, it is the distance that is found at the end in question, and not
that in the middle. So the ends are durations that were measured, and there are none where one would have to lie above
all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis import bootstrap
from lab.analysis.course import SLICES
from lab.analysis.facts import TrialFacts
from lab.analysis.latency import Latency
from lab.analysis.quantiles import QUANTILES, Distribution

STEPS: Final = 2
"""How often the ends are sought again with the scatter that is found at them."""

NAMES: Final = ("p50", "p90", "p99")

SKEW: Final = 0.3
"""By which part the upper end lies farther off, where trials differ, for each power of ten from the median to the tail.

Trials that are slower by a factor have their tail many times over, trials that are faster by it have hardly any: the
shares of few trials are skewed, and mostly too small, and so is their scatter.
"""

LEAST_TRIALS: Final = {"p50": bootstrap.LEAST_TRIALS, "p90": bootstrap.LEAST_TRIALS, "p99": 10}
LEAST_OPERATIONS: Final = {"p50": 600, "p90": 1200, "p99": 8000}
"""Of all trials together: from here on an interval holds the truth in about 93 to 97 % of the runs.

Measured on drawn data of four kinds, see docs/method.md. Of p99, more operations of few trials do not help where trials
differ: those trials are then what is rare. The quantile itself is given with fewer (quantiles.FLOORS).
"""

_NS_PER_MS: Final = 1e6
_DIGITS: Final = 6

Interval = list[float] | None


def of_arm(trials: Sequence[TrialFacts], delays: Latency, seed: int) -> dict[str, Any]:
    """Of response_ms and service_ms by quantile, and of throughput_hz.

    None where there are fewer trials or operations than LEAST_TRIALS and LEAST_OPERATIONS (of throughput: than 6
    trials). trials: the usable ones. delays: of all their operations together, as the summary has their quantiles.
    """
    random = np.random.default_rng(seed)
    slices = [trial.course.slices for trial in trials]
    response = [trial.course.response_ns for trial in trials]
    service = [trial.course.service_ns for trial in trials]
    return {
        "response_ms": _quantiles(slices, response, delays.response, random),
        "service_ms": _quantiles(slices, service, delays.service, random),
        "throughput_hz": _throughput(trials, random) if len(trials) >= bootstrap.LEAST_TRIALS else None,
    }


def of_quantile(
    p: float,
    slices: Sequence[NDArray[np.uint8]],
    values: Sequence[NDArray[Any]],
    every: Distribution,
    random: np.random.Generator,
    replicates: int = bootstrap.REPLICATES,
) -> tuple[int, int] | None:
    """The interval of the p-quantile of `every`, which holds all values of all trials, in their unit.

    slices, values: of each trial's operations, which may be a part of them all. None where the values do not reach far
    enough, or where there are none.
    """
    middle = every.quantile_ns(p)
    if middle is None or not sum(part.size for part in values):
        return None
    x = np.array([np.bincount(own, minlength=SLICES) for own in slices], dtype=np.float64)
    skew = max(0.0, SKEW * math.log10(0.5 / (1 - p)))

    def off(at: int) -> tuple[float, float]:
        """By how much, in log-odds, the share of operations that are not above this value may be off."""
        pairs = zip(slices, values, strict=True)
        y = np.array([np.bincount(own[part <= at], minlength=SLICES) for own, part in pairs], dtype=np.float64)
        share = float(y.sum() / x.sum())
        if not 0 < share < 1:
            return 0.0, 0.0
        low, high = bootstrap.ends(bootstrap.deviations(y, x, random, replicates, skew))
        return low / (share * (1 - share)), high / (share * (1 - share))

    odds = math.log(p / (1 - p))
    low, high = off(middle)
    least = most = middle
    for step in range(STEPS + 1):
        if step:
            low, high = off(most)[0], off(least)[1]
        if _share(odds - low) > 1 - 0.5 / every.total:
            return None
        least, most = every.quantile_ns(_share(odds - high)) or 0, every.quantile_ns(_share(odds - low)) or 0
    return least, most


def _share(odds: float) -> float:
    """Of log-odds."""
    return 1 / (1 + math.exp(min(-odds, 700)))


def _quantiles(
    slices: Sequence[NDArray[np.uint8]],
    values: Sequence[NDArray[Any]],
    every: Distribution,
    random: np.random.Generator,
) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    for name in NAMES:
        own = None
        if len(values) >= LEAST_TRIALS[name] and every.total >= LEAST_OPERATIONS[name]:
            own = of_quantile(QUANTILES[name], slices, values, every, random)
        found[name] = None if own is None else [end / _NS_PER_MS for end in own]
    return found


def _throughput(trials: Sequence[TrialFacts], random: np.random.Generator) -> Interval:
    seconds = np.array([trial.duration_s for trial in trials])
    if not (seconds > 0).all():
        return None
    done = np.array([trial.course.done for trial in trials], dtype=np.float64)
    if not done.any():  # nothing that could have scattered
        return None
    spent = np.repeat(seconds[:, None] / SLICES, SLICES, axis=1)
    rate = float(done.sum() / spent.sum())
    low, high = bootstrap.ends(bootstrap.deviations(done, spent, random))
    return [float(f"{max(0.0, rate + end):.{_DIGITS}g}") for end in (low, high)]
