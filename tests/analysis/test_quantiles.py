"""Quantiles: exact, mergeable, and silent below their floors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lab.analysis.quantiles import FLOORS, QUANTILES, distribution, in_ms, merged


@pytest.mark.parametrize(("name", "floor"), [("p90", 29), ("p99", 299), ("p99.9", 2995)])
def test_a_tail_quantile_is_given_from_its_floor_on(name: str, floor: int) -> None:
    assert floor == math.ceil(math.log(0.05) / math.log(QUANTILES[name]))
    assert in_ms(distribution(np.arange(floor - 1)))[name] is None
    assert in_ms(distribution(np.arange(floor)))[name] is not None


def test_the_median_is_given_from_one_operation_on_and_nothing_from_none() -> None:
    assert in_ms(distribution(np.array([5_000_000])))["p50"] == 5.0
    assert set(in_ms(distribution(np.array([], dtype="i8"))).values()) == {None}
    assert FLOORS["p50"] == 1


@pytest.mark.parametrize("size", [1, 2, 30, 999, 4000])
def test_quantiles_are_those_of_numpy_s_inverted_distribution_function(size: int) -> None:
    values = np.random.default_rng(size).integers(0, 1000, size)
    counted = distribution(values)
    for p in QUANTILES.values():
        assert counted.quantile_ns(p) == np.quantile(values, p, method="inverted_cdf")


def test_merging_parts_gives_the_distribution_of_all_values() -> None:
    random = np.random.default_rng(1)
    parts = [random.integers(0, 50, 100), random.integers(0, 2**40, 100), np.array([-3, -3]), np.array([], dtype="i8")]
    whole, joined = distribution(np.concatenate(parts)), merged(map(distribution, parts))
    assert joined.values_ns.tolist() == whole.values_ns.tolist()
    assert joined.counts.tolist() == whole.counts.tolist()
    assert joined.total == 202
