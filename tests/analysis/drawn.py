"""Durations of known distributions, and how often the interval of one arm holds their true quantile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from lab.analysis import intervals
from lab.analysis.course import SLICES
from lab.analysis.quantiles import QUANTILES, distribution

Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]
"""(random, trials, operations) -> durations in ms, a row for each trial."""


def lognormal(random: np.random.Generator, trials: int, operations: int) -> NDArray[np.float64]:
    return np.exp(random.normal(0, 0.5, (trials, operations)))


def bimodal(random: np.random.Generator, trials: int, operations: int) -> NDArray[np.float64]:
    slow = random.random((trials, operations)) < 0.2
    return np.where(slow, 5.0, 1.0) * np.exp(random.normal(0, 0.1, slow.shape))


def autocorrelated(random: np.random.Generator, trials: int, operations: int) -> NDArray[np.float64]:
    noise = random.normal(0, 0.5 * (1 - 0.9**2) ** 0.5, (trials, operations + 100))
    found: NDArray[np.float64] = np.exp(lfilter([1], [1, -0.9], noise, axis=1)[:, 100:])
    return found


def trial_effects(random: np.random.Generator, trials: int, operations: int) -> NDArray[np.float64]:
    return lognormal(random, trials, operations) * np.exp(random.normal(0, 0.2, (trials, 1)))


def places_of(operations: int) -> NDArray[np.uint8]:
    """The slices of operations that are due at equal distances."""
    return (np.arange(operations) * SLICES // operations).astype(np.uint8)


def held(
    draw: Draw, name: str, trials: int, operations: int, seed: int, repetitions: int, replicates: int
) -> tuple[int, int]:
    """In how many drawn runs the interval of the quantile `name` holds the true one, and how many have none.

    operations: of each trial.
    """
    p, places = QUANTILES[name], places_of(operations)
    truth = np.quantile(draw(np.random.default_rng(99), 5000, 400), p) * 1e6
    random = np.random.default_rng(seed)
    covered = none = 0
    for _ in range(repetitions):
        values = np.rint(draw(random, trials, operations) * 1e6).astype(np.int64)
        ends = intervals.of_quantile(
            p, [places] * trials, list(values), distribution(values.ravel()), random, replicates
        )
        none += ends is None
        covered += ends is not None and ends[0] <= truth <= ends[1]
    return covered, none
