"""Whether a trial had warmed up: `flat`, `warming`, `slowing` or `unstable`, from its service times in their order.

The measured operations of a trial, in the order in which they were due, are cut into windows of one number of
operations, at most 20 and of at least 10 each; each gives its median, as a logarithm. Windows of equal numbers, and not
of equal lengths, make medians that are equally sure. The series is then cut into segments of one level each, two
windows or longer, where that explains more than the cuts cost: the least sum of squares plus a price for each cut, in
units of the scatter from one window to the next (von Neumann, Distribution of the ratio of the mean square successive
difference to the variance, Annals of Mathematical Statistics 12 (1941), 367-395), which a change of level hardly
touches. The price is such that a series without any change is cut in one case of a hundred. Levels that differ by less
than 5 % count as one.

    flat      one level
    warming   it gets faster: every level is below the one before it, or the last, which holds at least a quarter of
              the windows, is below all others
    slowing   the same upwards
    unstable  levels that go up and down

After Barrett et al., Virtual machine warmup blows hot and cold, OOPSLA 2017, who cut series of iterations the same way
(and call the first three flat, warmup and slowdown, the last no steady state).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lab.analysis.course import Course

Label = Literal["flat", "warming", "slowing", "unstable"]
LABELS: Final[tuple[Label, ...]] = ("flat", "warming", "slowing", "unstable")

WINDOWS: Final = 20
LEAST_WINDOWS: Final = 10
LEAST_OPERATIONS: Final = 10  # of a window
LEAST_CHANGE: Final = math.log(1.05)
PRICE: Final = 14.0
_SHORTEST: Final = 2  # windows of a segment


def label(course: Course) -> Label | None:
    """The label of a trial; None of one with fewer than 100 operations."""
    windows = min(WINDOWS, course.service_ns.size // LEAST_OPERATIONS)
    if windows < LEAST_WINDOWS:
        return None
    in_order = course.service_ns[np.argsort(course.slices, kind="stable")]
    medians = [float(np.median(part)) for part in np.array_split(in_order, windows)]
    return label_of(np.log(np.maximum(medians, 1.0)))


def label_of(series: NDArray[np.float64]) -> Label:
    """The label of a series of log-medians, of 4 or more."""
    levels = _levels(series)
    if len(levels) == 1:
        return "flat"
    means = [mean for _, mean in levels]
    steady = levels[-1][0] >= len(series) / 4
    before, last = means[:-1], means[-1]
    if all(after < prior for prior, after in pairwise(means)) or (steady and last <= min(before) - LEAST_CHANGE):
        return "warming"
    if all(after > prior for prior, after in pairwise(means)) or (steady and last >= max(before) + LEAST_CHANGE):
        return "slowing"
    return "unstable"


def _levels(series: NDArray[np.float64]) -> list[tuple[int, float]]:
    """Windows and mean of each segment, neighbours at least 5 % apart."""
    found = [(len(part), float(part.mean())) for part in np.split(series, _cuts(series))]
    while len(found) > 1:
        steps = [abs(after[1] - before[1]) for before, after in pairwise(found)]
        place = int(np.argmin(steps))
        if steps[place] >= LEAST_CHANGE:
            break
        (one, mean), (other, second) = found[place : place + 2]
        found[place : place + 2] = [(one + other, (one * mean + other * second) / (one + other))]
    return found


def _cuts(series: NDArray[np.float64]) -> list[int]:
    """Where segments begin, the first left out: the cheapest way to cut, by dynamic programming."""
    size = len(series)
    price = PRICE * float((np.diff(series) ** 2).sum()) / (2 * (size - 1))
    if price <= 0:
        return []
    costs = _costs(series)
    best = np.full(size + 1, math.inf)
    best[0] = -price
    begins = np.zeros(size + 1, int)
    for end in range(_SHORTEST, size + 1):
        totals = best[: end - _SHORTEST + 1] + costs[: end - _SHORTEST + 1, end] + price
        begins[end] = int(np.argmin(totals))
        best[end] = totals[begins[end]]
    cuts: list[int] = []
    place = int(begins[size])
    while place:
        cuts.append(place)
        place = int(begins[place])
    return cuts[::-1]


def _costs(series: NDArray[np.float64]) -> NDArray[Any]:
    """[begin, end]: the sum of squares of the windows from begin to end - 1 around their mean."""
    sums = np.concatenate([[0.0], np.cumsum(series)])
    squares = np.concatenate([[0.0], np.cumsum(series**2)])
    begin, end = np.indices((len(series) + 1, len(series) + 1))
    length = np.maximum(end - begin, 1)
    found: NDArray[Any] = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / length
    return found
