"""The permutation test of two samples that are not paired, and its interval."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from lab.analysis import unpaired
from lab.analysis.unpaired import Sample, interval, p_value, welch

ONE = np.array([0.0, 11, 12, 20])
OTHER = np.array([16.0, 19, 22, 24, 29])


def counted(first: Sample, second: Sample) -> float:
    """Two-sided p: twice the share of regroupings whose difference is at least as far out, on the side seen."""
    both = [*first, *second]
    seen = second.mean() - first.mean()
    found = []
    for places in combinations(range(len(both)), len(first)):
        ours = [both[place] for place in places]
        theirs = [value for place, value in enumerate(both) if place not in places]
        found.append(np.mean(theirs) - np.mean(ours))
    above, below = (np.mean([sign * (each - seen) >= -1e-9 for each in found]) for sign in (1, -1))
    return float(min(1, 2 * min(above, below)))


def test_p_is_the_share_of_regroupings_that_are_as_far_out() -> None:
    assert p_value(ONE, OTHER) == pytest.approx(6 / 126)
    assert counted(ONE, OTHER) == pytest.approx(6 / 126)


def test_the_interval_holds_the_shifts_that_the_test_does_not_reject() -> None:
    ends = interval(ONE, OTHER)
    assert ends is not None
    for end, outwards in zip(ends, (-1e-6, 1e-6), strict=True):
        assert counted(ONE, OTHER - end - outwards) <= 0.05
        assert counted(ONE, OTHER - end + outwards) > 0.05


def test_swapping_the_samples_flips_the_signs_exactly() -> None:
    forth, back = interval(ONE, OTHER), interval(OTHER, ONE)
    assert forth is not None
    assert back == (-forth[1], -forth[0])
    assert p_value(ONE, OTHER) == p_value(OTHER, ONE)


def test_three_of_each_have_no_interval_and_four_have_one() -> None:
    assert interval(ONE[:3], OTHER[:3]) is None
    assert interval(ONE, OTHER[:4]) is not None


def test_above_the_exact_limit_the_same_seed_gives_the_same_interval_and_it_is_near_welch_s() -> None:
    random = np.random.default_rng(3)
    first, second = random.normal(0, 1, 20), random.normal(0.5, 1, 20)
    drawn = interval(first, second, seed=5)
    assert drawn is not None
    assert drawn == interval(first, second, seed=5)
    assert drawn == pytest.approx(welch(first, second)[1], abs=0.1)


def test_two_samples_of_one_source_are_told_apart_as_rarely_as_promised() -> None:
    random = np.random.default_rng(42688)
    repetitions = 400
    wrong = 0
    for _ in range(repetitions):
        first, second = np.log(random.lognormal(0, 0.3, (2, 6)) + random.exponential(0.5, (2, 6)))
        ends = interval(first, second)
        wrong += ends is None or not ends[0] <= 0 <= ends[1]
    low, high = stats.binom.interval(0.99, repetitions, 0.05)
    assert low <= wrong <= high


def test_a_shift_that_was_put_in_is_found_again() -> None:
    random = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        first, second = random.normal(0, 0.05, 8), np.log(1.2) + random.normal(0, 0.05, 8)
        ends = interval(first, second)
        assert ends is not None
        held += ends[0] <= np.log(1.2) <= ends[1]
    assert held >= stats.binom.ppf(0.005, 200, 0.95)


def test_welch_s_interval_has_the_difference_in_it_and_excludes_nothing_where_p_is_large() -> None:
    p, (low, high) = welch(ONE, OTHER)
    assert p == pytest.approx(float(stats.ttest_ind(ONE, OTHER, equal_var=False).pvalue))
    assert low < OTHER.mean() - ONE.mean() < high
    assert unpaired.EXACT < 92_378  # 9 and 10 figures are drawn
