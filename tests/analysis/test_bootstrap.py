"""The two-level bootstrap: deviations of known size, and blocks as long as the series needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from lab.analysis import bootstrap
from lab.analysis.bootstrap import block_length, deviations, ends

TRIALS, SLICES = 12, 256


def counts(
    random: np.random.Generator, share: NDArray[np.float64] | float, trials: int = TRIALS
) -> NDArray[np.float64]:
    """Of 10 operations in each slice, how many were not above a threshold that this share is not above."""
    return random.binomial(10, np.broadcast_to(share, (trials, SLICES))).astype(np.float64)


TEN = np.full((TRIALS, SLICES), 10.0)


def spread(y: NDArray[np.float64], x: NDArray[np.float64] = TEN, seed: int = 0) -> float:
    return float(deviations(y, x, np.random.default_rng(seed), 2000).std())


def test_independent_operations_scatter_as_the_binomial_says() -> None:
    random = np.random.default_rng(1)
    found = [spread(counts(random, 0.2)) for _ in range(20)]
    binomial = math.sqrt(0.2 * 0.8 / TEN.sum())
    assert min(found) > 0.85 * binomial  # trials that agree by chance do not make the whole surer than its operations
    assert np.median(found) == pytest.approx(binomial, rel=0.2)


def test_trials_that_differ_scatter_as_their_shares_do_with_student_s_correction() -> None:
    random = np.random.default_rng(2)
    shares = random.uniform(0.1, 0.9, (TRIALS, 1))
    y = counts(random, shares)
    error = y.mean(axis=1).std(ddof=1) / 10 / math.sqrt(TRIALS)
    student = stats.t.ppf(0.975, TRIALS - 1) / stats.norm.ppf(0.975)
    assert spread(y) == pytest.approx(error * student, rel=0.06)


@pytest.mark.parametrize("ratio", [1.2, 2.0])
def test_student_s_correction_is_for_what_slices_do_not_explain(ratio: float) -> None:
    """Of trials whose sums scatter `ratio` times as much as slices explain, it corrects the rest: little of
    those that are just above 1."""
    random = np.random.default_rng(12)
    alike = counts(random, 0.4)
    alike += 4 - alike.mean(axis=1, keepdims=True)
    apart = np.tile([-1.0, 1.0], TRIALS // 2)[:, None]
    blocks = (alike - 4).std() ** 2 * SLICES  # the variance of a trial's sum that its slices explain
    y = alike + apart * math.sqrt(ratio * blocks * (TRIALS - 1) / TRIALS) / SLICES
    student = stats.t.ppf(0.975, TRIALS - 1) / stats.norm.ppf(0.975)
    rest = 1 - 1 / ratio
    expected = math.sqrt(ratio * blocks * TRIALS) / TEN.sum() * (1 + rest * (student - 1))
    assert np.mean([spread(y, seed=seed) for seed in range(10)]) == pytest.approx(expected, rel=0.03)


def test_skew_moves_the_ends_outward_by_its_part_where_only_trials_differ() -> None:
    y = np.repeat(np.random.default_rng(7).uniform(1, 9, (TRIALS, 1)), SLICES, axis=1)  # slices explain nothing
    plain, skewed = (ends(deviations(y, TEN, np.random.default_rng(8), 2000, skew)) for skew in (0.0, 0.4))
    assert skewed == pytest.approx((1.4 * plain[0], 1.2 * plain[1]))


def test_neighbours_that_resemble_each_other_are_drawn_together() -> None:
    """Trials of one share, whose slices wander: the naive error of independent slices is far too small."""
    random = np.random.default_rng(3)
    wander = lfilter([1], [1, -0.9], random.normal(0, 0.08, (TRIALS, SLICES)), axis=1)
    y = counts(random, np.clip(0.5 + wander, 0, 1))
    within = y - y.mean(axis=1, keepdims=True)
    naive = within.std() / 10 / math.sqrt(within.size)
    assert spread(y) > 2 * naive


def test_blocks_alone_show_that_neighbours_resemble_each_other_where_the_trials_sums_agree() -> None:
    """What the drawn trials cannot tell then, the blocks must: half of the error of an AR(0.9) or more."""
    random = np.random.default_rng(10)
    wander = lfilter([1], [1, -0.9], random.normal(0, 0.3, (TRIALS, SLICES + 100)), axis=1)[:, 100:]
    wander -= wander.mean(axis=1, keepdims=True)
    error = 0.3 / (1 - 0.9) / math.sqrt(wander.size) / 10  # of a mean of slices, of 10 operations each
    assert 0.5 * error < spread(5 + wander) < 1.2 * error


def test_trials_that_agree_exactly_do_not_scatter() -> None:
    assert spread(np.full((TRIALS, SLICES), 5.0)) == 0


def test_the_same_seed_gives_the_same_deviations_and_more_draws_the_same_ends() -> None:
    y = counts(np.random.default_rng(4), np.linspace(0.3, 0.6, TRIALS)[:, None])
    same = [deviations(y, TEN, np.random.default_rng(5)) for _ in range(2)]
    assert same[0].tolist() == same[1].tolist()
    assert ends(same[0]) == pytest.approx(ends(deviations(y, TEN, np.random.default_rng(6), 20_000)), rel=0.15)


def test_slices_without_operations_are_none() -> None:
    random = np.random.default_rng(7)
    x = np.where(random.random((TRIALS, SLICES)) < 0.5, 10.0, 0.0)
    found = np.median([spread(counts(random, 0.2) * (x > 0), x) for _ in range(20)])
    assert found == pytest.approx(math.sqrt(0.2 * 0.8 / x.sum()), rel=0.2)


def test_independent_slices_need_no_blocks() -> None:
    random = np.random.default_rng(8)
    assert np.median([block_length(random.normal(size=(TRIALS, SLICES))) for _ in range(30)]) <= 2
    assert block_length(np.zeros((TRIALS, SLICES))) == 1


@pytest.mark.parametrize("phi", [0.5, 0.8])
def test_blocks_are_as_long_as_politis_and_white_have_it_for_an_autoregressive_series(phi: float) -> None:
    """Patton, Politis and White (2009): b = (2 G^2 / D)^(1/3) N^(1/3), D = 4/3 g(0)^2 for circular blocks.

    For x[t] = phi x[t-1] + e: g(0) = 1 / (1 - phi)^2, and G, the sum of |k| times the autocovariances, is
    2 phi / ((1 - phi^2) (1 - phi)^2).
    """
    bend = 2 * phi / ((1 - phi**2) * (1 - phi) ** 2)
    expected = (2 * bend**2 / (4 / 3 * (1 - phi) ** -4) * SLICES) ** (1 / 3)
    random = np.random.default_rng(9)
    found = [
        block_length(lfilter([1], [1, -phi], random.normal(size=(TRIALS, SLICES + 100)), axis=1)[:, 100:])
        for _ in range(40)
    ]
    assert np.median(found) == pytest.approx(expected, rel=0.3)


def test_a_block_is_never_longer_than_the_rule_allows() -> None:
    ramp = np.broadcast_to(np.linspace(-1, 1, SLICES), (TRIALS, SLICES))
    assert block_length(np.array(ramp)) <= 3 * math.sqrt(SLICES)
    assert bootstrap.LEAST_TRIALS == 6
