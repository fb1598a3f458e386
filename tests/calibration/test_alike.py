"""Two arms that are the same: which verdicts pass, and what effect an interval lets see."""

from __future__ import annotations

from typing import Any

import pytest

from lab.calibration.alike import detectable, verdicts


def comparison(verdict: str, ci: list[float] | None = None) -> dict[str, Any]:
    ratio = None if ci is None else 1.0
    because = None if ci else "failure rates differ"
    return {"metric": "x", "verdict": verdict, "ci": ci, "ratio": ratio, "because": because, "blocks": 12}


@pytest.mark.parametrize(
    ("verdict", "ci", "passed"),
    [
        ("equivalent", [0.99, 1.01], True),
        ("inconclusive", [0.9, 1.2], True),
        ("slower", [1.06, 1.2], False),
        ("faster", [0.8, 0.9], False),
        ("not-comparable", None, False),
        ("inconclusive", None, False),
    ],
)
def test_no_difference_is_what_passes(verdict: str, ci: list[float] | None, passed: bool) -> None:
    (check,) = verdicts([comparison(verdict, ci)])
    assert check.passed is passed


def test_the_effect_that_can_be_seen_is_half_the_interval() -> None:
    assert detectable((1 / 1.1, 1.1)) == pytest.approx(0.1)
    (check,) = verdicts([comparison("inconclusive", [0.8, 1.25])])
    assert "12 blocks like these see an effect of 25 %" in check.told
