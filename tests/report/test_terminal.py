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
    assert "topology.processes=2 / topology.processes=1 = 1.50 [1.50, 1.50]: slower at a margin of 5 %" in text


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


def test_the_generators_lateness_stands_beside_the_figures_of_an_open_loop() -> None:
    found = summary(2)
    first, second = found["arms"].values()
    first["generator_lag_ms"], second["generator_lag_ms"] = {"p99": 0.168}, {"p99": None}
    (line,) = [line for line in shown(found).splitlines() if line.startswith("generator late, p99")]
    assert line.split()[-2:] == ["0.168", "n/a"]
    assert "generator late" not in shown(summary(2, "closed"))


def arms_table(found: dict[str, Any], width: int = 80) -> str:
    return shown(found, width).split("Arms\n")[1].split("\n\n")[0]


def test_settings_that_differ_have_rows_and_what_all_arms_share_is_said_once() -> None:
    found = summary(2)
    for arm in found["arms"].values():
        arm |= {"start": "staggered", "fork_point": "idle"}
    usual = arms_table(found)
    assert "in every arm: context policy per-process; topology prefork 2 x 1;" in usual
    assert "load open, 100 Hz" in " ".join(usual.split())
    assert not any(word in usual for word in ("staggered", "fork point", "bridge", "softhsm"))
    second = found["arms"]["topology.processes=1"]
    second |= {"start": "herd", "fork_point": "threads-busy", "session": "pool"}
    second["load"] = {"mode": "open", "rate_hz": 2500.0}
    rows = [line.split("  ") for line in arms_table(found).splitlines()]
    told = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    assert told["session policy"] == ["per-thread", "pool"]
    assert told["load"] == ["open, 100 Hz", "open, 2,500 Hz"]
    assert told["start"] == ["staggered", "herd"]
    assert told["fork point"] == ["idle", "threads-busy"]


def test_a_start_and_a_fork_point_that_are_not_the_usual_ones_are_told_though_all_arms_share_them() -> None:
    found = summary(2)
    for arm in found["arms"].values():
        arm |= {"start": "herd", "fork_point": "mid-operation"}
    assert "start herd; fork point mid-operation" in " ".join(arms_table(found).split())


def test_the_policy_of_a_real_server_is_its_library_s_and_an_arm_without_a_token_has_none() -> None:
    found = summary(2)
    real, null = found["arms"].values()
    real |= {"context": None, "session": None, "server": "httpd", "bridge": "engine"}
    null |= {"context": None, "session": None, "token": None}
    (row,) = [line for line in arms_table(found).splitlines() if line.startswith("context policy")]
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == ["context policy", "by its library", "none"]


@pytest.mark.parametrize("arms", [2, 4, 12])
def test_arms_that_differ_in_every_setting_fit_80_columns(arms: int) -> None:
    found = summary(arms)
    for place, arm in enumerate(found["arms"].values()):
        arm |= {"start": ("staggered", "herd")[place % 2], "fork_point": ("idle", "mid-operation")[place % 2]}
        arm |= {"session": ("per-thread", "per-operation")[place % 2], "trials": 7 + place}
        arm["load"] = {"mode": "open", "rate_hz": 1000.5 + place} if place % 2 else {"mode": "closed", "rate_hz": None}
    text = shown(found)
    assert max(map(len, text.splitlines())) <= 80
    assert all(word in text for word in ("per-operation", "mid-operation", "open, 1,001.5 Hz", "herd", "closed"))


def test_one_is_singular() -> None:
    found = summary(1)
    (arm,) = found["arms"].values()
    (failure,) = arm["failures"]
    failure |= {"count": 1, "processes": 1}
    arm["failures"] = [failure] * 7
    text = " ".join(shown(found).split())
    assert "CKR_CRYPTOKI_NOT_INITIALIZED, 1 time in 1 process," in text
    assert "and 1 other kind, in summary.json" in text
    assert (words.counted(1, "block"), words.counted(1200, "block")) == ("1 block", "1,200 blocks")


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
            "response time at p50: b / a = 1.03 [1.01, 1.05]: inconclusive at a margin of 5 %",
        ),
        (
            {"ratio": 0.5, "ci": [0.4, 0.6], "verdict": "faster"},
            "response time at p50: b / a = 0.50 [0.40, 0.60]: faster at a margin of 5 %",
        ),
        (
            {"ratio": 2.0, "ci": [1.5, 2.5], "verdict": "faster", "metric": "throughput_hz"},
            "throughput: b / a = 2.00 [1.50, 2.50]: faster at a margin of 5 %",
        ),
        (
            {"ratio": 1.0, "ci": [1.0, 1.0], "verdict": "equivalent"},
            "response time at p50: b / a = 1.00 [1.00, 1.00]: equivalent at a margin of 5 %",
        ),
        (
            {"ratio": 0.9, "ci": [0.209, 2.97], "verdict": "inconclusive"},
            "response time at p50: b / a = 0.90 [0.21, 2.97]: inconclusive at a margin of 5 %",
        ),
        (
            {
                "ratio": 1.1,
                "ci": [1.0, 1.2],
                "verdict": "inconclusive",
                "blocks_to_decide": 34,
                "because": "the interval",
            },
            "response time at p50: b / a = 1.10 [1.00, 1.20]: inconclusive at a margin of 5 %;"
            " if it is really 1.10, a run of 34 blocks would probably decide",
        ),
        (
            {"ratio": 0.0123, "ci": [0.01, 250.4], "verdict": "inconclusive"},
            "response time at p50: b / a = 0.012 [0.01, 250]: inconclusive at a margin of 5 %",
        ),
        (
            {"ratio": 1.004, "ci": [1.001, 1.008], "verdict": "equivalent", "margin": 0.01},
            "response time at p50: b / a = 1.004 [1.001, 1.008]: equivalent at a margin of 1 %",
        ),
        (
            {"ratio": None, "ci": None, "verdict": "inconclusive", "because": "0 blocks"},
            "response time at p50: b / a = n/a: inconclusive at a margin of 5 % (0 blocks)",
        ),
        (
            {"ratio": None, "ci": None, "verdict": "not-comparable", "because": "failure rates differ"},
            "response time at p50: b cannot be compared with a (failure rates differ)",
        ),
        (
            {"ratio": 1.2, "ci": None, "verdict": "inconclusive", "because": "5 blocks, 6 are needed"},
            "response time at p50: b / a = 1.20: inconclusive at a margin of 5 % (5 blocks, 6 are needed)",
        ),
    ],
)
def test_a_comparison_is_a_sentence(found: dict[str, Any], sentence: str) -> None:
    assert words.comparison(COMPARED | found) == sentence
