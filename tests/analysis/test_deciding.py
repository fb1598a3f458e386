"""How many blocks would decide, against runs of that length."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lab.analysis import deciding, signflip
from lab.analysis.comparisons import verdict_of
from lab.analysis.deciding import blocks_to_decide, least_blocks, likely_spread


def standard(count: int) -> np.ndarray:
    """Numbers of mean 0 and standard deviation 1, exactly."""
    drawn = np.random.default_rng(count).normal(0, 1, count)
    return (drawn - drawn.mean()) / drawn.std(ddof=1)


@pytest.mark.parametrize(("metrics", "least"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9)])
def test_the_least_blocks_are_those_whose_smallest_p_survives_the_correction(metrics: int, least: int) -> None:
    assert least_blocks(metrics) == least
    assert metrics * 2 / 2**least < 0.05


@pytest.mark.parametrize(("mean", "spread"), [(0.08, 0.035), (0.0, 0.048), (-0.08, 0.035), (0.02, 0.033)])
def test_a_run_of_that_many_blocks_decides_as_often_as_promised(
    mean: float, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the true spread in place of its upper limit, four runs in five decide; with the limit, more do."""
    margin = 0.05
    monkeypatch.setattr(deciding, "likely_spread", lambda differences: float(differences.std(ddof=1)))
    blocks = blocks_to_decide(mean + spread * standard(12), margin)
    assert blocks is not None
    assert blocks <= signflip.EXACT_BLOCKS
    random = np.random.default_rng(5)
    decided = 0
    for _ in range(300):
        low, high = signflip.interval(random.normal(mean, spread, blocks)) or (math.nan, math.nan)
        decided += verdict_of((math.exp(low), math.exp(high)), margin, False) != "inconclusive"
    assert stats.binom.ppf(0.0005, 300, 0.75) <= decided <= stats.binom.ppf(0.9995, 300, 0.87)


def test_the_spread_is_below_its_limit_four_times_in_five() -> None:
    """For normal differences, by definition of the chi-square limit (Browne 1995)."""
    random = np.random.default_rng(9)
    above = sum(likely_spread(random.normal(0, 1, 6)) >= 1 for _ in range(2000))
    assert abs(above / 2000 - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 2000)


def test_more_spread_and_more_metrics_take_more_blocks() -> None:
    shape = standard(12)
    narrow = blocks_to_decide(0.1 + 0.1 * shape, 0.05)
    wide = blocks_to_decide(0.1 + 0.2 * shape, 0.05)
    several = blocks_to_decide(0.1 + 0.2 * shape, 0.05, metrics=4)
    assert narrow is not None
    assert wide is not None
    assert several is not None
    assert narrow < wide < several


def test_a_mean_on_the_edge_of_the_margin_is_decided_by_no_run() -> None:
    assert blocks_to_decide(math.log(1.05) + 0.1 * standard(12), 0.05) is None


@pytest.mark.parametrize("differences", [[], [0.3]])
def test_one_block_tells_nothing_of_the_next(differences: list[float]) -> None:
    assert blocks_to_decide(np.array(differences), 0.05) is None


def test_it_is_never_a_number_that_has_been_had_already() -> None:
    assert blocks_to_decide(np.full(9, 0.5), 0.05) == 10
