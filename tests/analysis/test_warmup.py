"""Labels of made-up trials: what changes is found, what does not is left alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lab.analysis.course import Course
from lab.analysis.warmup import LABELS, WINDOWS, label, label_of
from tests.analysis.drawn import Draw, bimodal, lognormal, trial_effects
from tests.analysis.test_intervals import OPERATIONS, PLACES

AT = np.arange(WINDOWS)
NOISE = 0.02

SERIES = {
    "a fifth slower in the first quarter": ("warming", np.where(AT < 5, 0.2, 0)),
    "settling exponentially": ("warming", 0.5 * np.exp(-AT / 4)),
    "falling by 30 % all the time": ("warming", -0.3 * AT / WINDOWS),
    "a bump, then faster than ever": ("warming", np.where(AT < 5, 0.2, np.where(AT < 10, 0.4, 0))),
    "a fifth slower from the middle on": ("slowing", np.where(AT < 12, 0, 0.2)),
    "a fifth slower in the last two windows": ("slowing", np.where(AT < 18, 0, 0.2)),
    "rising by 30 % all the time": ("slowing", 0.3 * AT / WINDOWS),
    "a bump, then as before": ("unstable", np.where((AT > 6) & (AT < 13), 0.2, 0)),
    "a dip, then as before": ("unstable", np.where((AT > 6) & (AT < 13), -0.2, 0)),
    "waves": ("unstable", 0.3 * np.sin(AT * 2 * np.pi / 10)),
    "one window apart": ("flat", np.where(AT == 9, 0.5, 0)),
    "a step of 3 %": ("flat", np.where(AT < 10, 0.03, 0)),
    "a step of 8 %": ("warming", np.where(AT < 10, 0.08, 0)),
    "nothing at all": ("flat", np.zeros(WINDOWS)),
}


@pytest.mark.parametrize("name", SERIES)
def test_a_made_up_series_is_called_what_it_is(name: str) -> None:
    expected, series = SERIES[name]
    random = np.random.default_rng(1)
    found = Counter(label_of(series + random.normal(0, NOISE, WINDOWS)) for _ in range(100))
    assert found[expected] >= 95, found


def test_noise_alone_is_cut_in_one_case_of_a_hundred() -> None:
    """So much noise that the least change hides nothing; of 1,000 series as many as 1.5 % may give, or fewer."""
    random = np.random.default_rng(5)
    cut = sum(label_of(random.normal(0, 0.2, WINDOWS)) != "flat" for _ in range(1000))
    assert 0 < cut <= stats.binom.ppf(0.999, 1000, 0.015), cut


def test_a_series_without_any_noise_is_judged_too() -> None:
    assert label_of(np.zeros(WINDOWS)) == "flat"
    assert label_of(SERIES["a fifth slower from the middle on"][1]) == "slowing"


@pytest.mark.parametrize("draw", [lognormal, bimodal, trial_effects])
def test_few_trials_without_a_change_are_called_anything_but_flat(draw: Draw) -> None:
    """Of 400 trials at most as many as 4 % may give (once in a thousand times more)."""
    durations = np.rint(1e6 * draw(np.random.default_rng(3), 400, OPERATIONS)).astype(np.int64)
    found = Counter(label(Course(PLACES, each)) for each in durations)
    assert 400 - found["flat"] <= stats.binom.ppf(0.999, 400, 0.04), found


def course(durations: NDArray[np.float64]) -> Course:
    places = np.arange(durations.size) * 256 // durations.size
    return Course(places.astype(np.uint8), np.rint(1e6 * durations).astype(np.int64))


def test_trials_that_warm_up_are_found_whatever_the_order_of_their_processes() -> None:
    random = np.random.default_rng(4)
    cold = np.where(np.arange(800) < 300, 1.5, 1.0) * np.exp(random.normal(0, 0.3, 800))
    whole = course(cold)
    assert label(whole) == "warming"
    halves = np.concatenate([np.arange(0, 800, 2), np.arange(1, 800, 2)])  # the rows of two processes, one by one
    assert label(Course(whole.slices[halves], whole.service_ns[halves])) == "warming"
    assert label(course(cold[::-1])) == "slowing"


def test_fewer_than_a_hundred_operations_tell_nothing() -> None:
    assert label(course(np.ones(99))) is None
    assert label(course(np.ones(100))) == "flat"
    assert label(Course()) is None
    assert LABELS == ("flat", "warming", "slowing", "unstable")
