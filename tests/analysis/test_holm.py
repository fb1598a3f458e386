"""Holm's correction, by hand."""

from __future__ import annotations

import pytest

from lab.analysis.holm import adjusted


def test_the_example_that_is_told_of_holm() -> None:
    """Four tests at 5 %: 0.005 < 0.05 / 4 and 0.01 < 0.05 / 3 are found, 0.03 > 0.05 / 2 is not, nor what follows."""
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_one_test_needs_no_correction_and_none_has_none() -> None:
    assert adjusted([0.04]) == [0.04]
    assert adjusted([]) == []


def test_adjusted_values_end_at_one_and_keep_the_order_of_the_values() -> None:
    assert adjusted([0.5, 0.9, 0.4]) == [1.0, 1.0, 1.0]
    found = adjusted([0.001, 0.0011, 0.0012])
    assert found == sorted(found)
