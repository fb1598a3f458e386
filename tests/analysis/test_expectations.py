"""[expect] against a summary."""

from __future__ import annotations

from typing import Any

import pytest

from lab.analysis.expectations import unmet

SUMMARY: dict[str, Any] = {
    "valid": True,
    "arms": {
        "rate_hz=0.5": {
            "ok": 3,
            "response_ms": {"p99": 2.0, "p99.9": None},
            "failures": [{"code": "SIGSEGV", "count": 4}],
        },
        "a": {"context": None, "locking": "os"},
    },
}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("valid", True),
        ("arms.rate_hz=0.5.ok", 3),
        ("arms.rate_hz=0.5.ok", "> 2"),
        ("arms.rate_hz=0.5.ok", ">= 3"),
        ("arms.rate_hz=0.5.ok", "<= 3.0"),
        ("arms.rate_hz=0.5.ok", "!= 4"),
        ("arms.rate_hz=0.5.response_ms.p99", "< 10"),
        ("arms.rate_hz=0.5.failures.0.code", "SIGSEGV"),
        ("arms.rate_hz=0.5.failures.-1.count", "== 4"),
        ("arms.a.locking", "os"),
    ],
)
def test_an_expectation_that_holds_is_met(path: str, wanted: Any) -> None:
    assert unmet(SUMMARY, {path: wanted}) == []


@pytest.mark.parametrize(
    ("path", "wanted", "sentence"),
    [
        ("valid", False, "valid: is True, expected False"),
        ("valid", 1, "valid: is True, expected 1"),
        ("valid", "> 0", "valid: is True, expected > 0"),
        ("arms.rate_hz=0.5.ok", "> 3", "arms.rate_hz=0.5.ok: is 3, expected > 3"),
        ("arms.rate_hz=0.5.response_ms.p99.9", "< 10", "arms.rate_hz=0.5.response_ms.p99.9: is n/a, expected < 10"),
        ("arms.b.ok", 3, "arms.b.ok: the summary has no such value"),
        ("arms.rate_hz=0.5.failures.1.code", "x", "arms.rate_hz=0.5.failures.1.code: the summary has no such value"),
        ("arms.a.context", "shared", "arms.a.context: is n/a, expected shared"),
        ("arms.a.locking", "none", "arms.a.locking: is os, expected none"),
    ],
)
def test_an_expectation_that_does_not_hold_is_told_in_one_sentence(path: str, wanted: Any, sentence: str) -> None:
    assert unmet(SUMMARY, {path: wanted}) == [sentence]
