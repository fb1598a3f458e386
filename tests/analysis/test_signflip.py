"""The sign-flip test and its interval, against hand counts, scipy and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lab.analysis import signflip


def test_six_differences_of_one_sign_have_the_smallest_p_that_six_can_give() -> None:
    assert signflip.p_value(np.array([1.0, 2, 3, 4, 5, 6])) == pytest.approx(2 / 64)


def test_p_is_the_share_of_sign_patterns_at_least_as_extreme_counted_by_hand() -> None:
    differences = np.random.default_rng(3).normal(0.5, 1, 8)
    means = [np.mean(np.array(signs) * differences) for signs in itertools.product((1, -1), repeat=8)]
    above = np.mean([mean >= differences.mean() - 1e-12 for mean in means])
    below = np.mean([mean <= differences.mean() + 1e-12 for mean in means])
    assert signflip.p_value(differences) == pytest.approx(min(1, 2 * min(above, below)))


def test_the_interval_of_six_differences_is_their_range() -> None:
    assert signflip.interval(np.array([3.0, 1, 2, 6, 5, 4])) == (1.0, 6.0)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_fewer_than_six_differences_have_no_interval(n: int) -> None:
    assert signflip.interval(np.arange(float(n))) is None


@pytest.mark.parametrize("n", [6, 9, 12])
def test_the_interval_holds_exactly_the_shifts_that_scipy_s_test_does_not_reject(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    ends = signflip.interval(differences)
    assert ends is not None
    for end, outwards in zip(ends, (-1, 1), strict=True):
        step = outwards * 1e-9
        assert signflip.p_value(differences - (end + step)) <= 0.05
        assert signflip.p_value(differences - (end - step)) > 0.05


def test_swapping_the_labels_mirrors_the_interval_and_keeps_p() -> None:
    differences = np.random.default_rng(5).normal(0.2, 1, 12)
    low, high = signflip.interval(differences) or (math.nan, math.nan)
    assert signflip.interval(-differences) == pytest.approx((-high, -low))
    assert signflip.p_value(-differences) == pytest.approx(signflip.p_value(differences))


def test_many_blocks_are_judged_by_seeded_draws() -> None:
    differences = np.random.default_rng(6).normal(0.2, 1, 30)
    ends = signflip.interval(differences, seed=1)
    assert ends is not None
    assert ends == signflip.interval(differences, seed=1)
    assert signflip.p_value(differences, seed=1) == signflip.p_value(differences, seed=1)
    assert ends == pytest.approx(stats.ttest_1samp(differences, 0).confidence_interval(0.95), abs=0.05)


@pytest.mark.parametrize("true_ratio", [1.0, 1.1])
def test_the_interval_covers_the_true_ratio_as_often_as_it_says(true_ratio: float) -> None:
    """Lognormal medians with block and trial effects, 12 blocks; the band is left by chance once in 10,000 times."""
    random = np.random.default_rng(42688)
    repetitions = 600
    covered = 0
    for _ in range(repetitions):
        block = random.normal(0, 0.3, 12)
        operations = random.normal(0, 0.5, (2, 12, 51)) + random.normal(0, 0.1, (2, 12, 1)) + block[None, :, None]
        base, arm = np.median(operations, axis=2)
        low, high = signflip.interval(arm + math.log(true_ratio) - base) or (math.nan, math.nan)
        covered += low <= math.log(true_ratio) <= high
    least, most = stats.binom.interval(0.9999, repetitions, 0.95)
    assert least <= covered <= most


def test_fisher_s_count_of_darwin_s_maize() -> None:
    """Heights of 15 pairs of crossed and self-fertilised plants, in eighths of an inch.

    Fisher, The Design of Experiments (1935), section 21: of the 32,768 ways to give the differences signs, 863 have a
    sum of 314, as it was, or more, and as many -314 or less.
    """
    darwin = np.array([49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
    assert darwin.sum() == 314
    assert signflip.p_value(darwin) == pytest.approx(2 * 863 / 32768)
    ends = signflip.interval(darwin)
    assert ends is not None
    assert ends[0] < 0 < ends[1]  # for p is 5.27 %
