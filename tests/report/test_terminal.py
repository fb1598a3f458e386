"""The summary on a terminal: fits, is complete, and is plain where it is no terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lab.analysis.arms import arms_of
from lab.analysis.summary import summarise
from lab.report import words
from lab.report.terminal import show
from tests.sealed_run import SCENARIO
from tests.trial_builder import NOT_INITIALIZED, TrialBuilder, record, steady, worker


def summary(arms: int, mode: str = "open") -> dict[str, Any]:
    """The first arm fails in every child, the others sign; seven blocks."""
    load = {"mode": mode, "rate_hz": 100.0 if mode == "open" else None}
    names = [f"topology.processes={number}" for number in range(arms)]
    resolved = arms_of({"arms": [SCENARIO["arms"][0] | {"name": name, "load": load} for name in names]})
    failing = (
        TrialBuilder().sign(ckr=NOT_INITIALIZED).operation(outcome="fail", code=NOT_INITIALIZED, function="C_SignInit")
    )
    facts = []
    for block in range(1, 8):
        facts.append(failing.examine(record(worker(1, 1), arm=names[0], block=block, number=100 * block)))
        for place, name in enumerate(names[1:], start=1):
            trial = record(worker(1, 300), arm=name, block=block, number=100 * block + place, open_loop=mode == "open")
            facts.append(steady(trial, 300, 1.0 + place))
    metric = "response_ms.p50" if mode == "open" else "throughput_hz"
    return summarise("run", "scenario", "What does it cost?", 7, resolved, {metric: 0.05}, facts)


def shown(found: dict[str, Any], width: int = 80, terminal: bool = False) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=width, force_terminal=terminal, color_system="standard" if terminal else None))
    return out.getvalue()


@pytest.mark.parametrize("mode", ["open", "closed"])
@pytest.mark.parametrize("arms", [1, 2, 4, 5, 12])
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(arms: int, width: int, mode: str) -> None:
    text = shown(summary(arms, mode), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text


def test_a_terminal_gets_colour() -> None:
    assert "\x1b" in shown(summary(2), terminal=True)


def test_a_reader_finds_the_question_the_failure_the_broken_rule_and_the_comparison() -> None:
    text = " ".join(shown(summary(3), 120).split())
    assert "What does it cost?" in text
    assert "CKR_CRYPTOKI_NOT_INITIALIZED, 7 times in 7 processes, from C_SignInit" in text
    assert "initialize-per-process: called PKCS#11 without a C_Initialize of its own" in text
    assert "trial 100, process 1 (pid 1001), thread 1001: C_SignInit" in text
    assert "topology.processes=0 cannot be compared with topology.processes=1" in text
    assert (
        "topology.processes=2 is 50.0 % slower than topology.processes=1 [50.0 %, 50.0 %]: slower at a margin" in text
    )


def test_missing_figures_are_not_available() -> None:
    assert "n/a" in shown(summary(1))


def test_an_invalid_or_interrupted_run_says_so_before_any_figure() -> None:
    found = summary(2) | {"valid": False, "invalid_because": ["trial 3 (a): 2 rows were lost"], "partial": True}
    text = shown(found)
    assert text.index("Not valid") < text.index("2 rows were lost") < text.index("Arms")
    assert "Interrupted" in text


def test_open_and_closed_loops_have_tables_of_their_own() -> None:
    assert "response p50" in shown(summary(2))
    assert "Closed loop" not in shown(summary(2))
    closed = shown(summary(2, "closed"))
    assert "response p50" not in closed
    assert "Closed loop" in closed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (0, "0"),
        (0.0512, "0.0512"),
        (3.14159, "3.14"),
        (99.96, "100"),
        (12345.6, "12,346"),
        (2e-5, "0.00002"),
    ],
)
def test_figures_have_three_digits_and_no_exponent(value: float | None, text: str) -> None:
    assert words.significant(value) == text


COMPARED = {"metric": "response_ms.p50", "arm": "b", "baseline": "a", "margin": 0.05, "because": None}


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            {"ratio": 1.031, "ci": [1.01, 1.052], "verdict": "inconclusive"},
            "response time at p50: b is 3.1 % slower than a [1.0 %, 5.2 %]: inconclusive at a margin of 5 %",
        ),
        (
            {"ratio": 0.5, "ci": [0.4, 0.6], "verdict": "faster"},
            "response time at p50: b is 50.0 % faster than a [40.0 %, 60.0 %]: faster at a margin of 5 %",
        ),
        (
            {"ratio": 2.0, "ci": [1.5, 2.5], "verdict": "faster", "metric": "throughput_hz"},
            "throughput: b is 100 % faster than a [50.0 %, 150 %]: faster at a margin of 5 %",
        ),
        (
            {"ratio": 1.0, "ci": [1.0, 1.0], "verdict": "equivalent"},
            "response time at p50: b is the same as a [0.0 %, 0.0 %]: equivalent at a margin of 5 %",
        ),
        (
            {"ratio": None, "ci": None, "verdict": "not-comparable", "because": "failure rates differ"},
            "response time at p50: b cannot be compared with a (failure rates differ)",
        ),
        (
            {"ratio": 1.2, "ci": None, "verdict": "inconclusive", "because": "5 blocks, 6 are needed"},
            "response time at p50: b is 20.0 % slower than a: inconclusive at a margin of 5 % (5 blocks, 6 are needed)",
        ),
    ],
)
def test_a_comparison_is_a_sentence(found: dict[str, Any], sentence: str) -> None:
    assert words.comparison(COMPARED | found) == sentence
