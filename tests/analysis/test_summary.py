"""The whole summary: its shape, its validity, its units."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lab.analysis.arms import ArmInfo, arms_of
from lab.analysis.facts import TrialFacts
from lab.analysis.rules import RULES
from lab.analysis.segments import by_process
from lab.analysis.summary import summarise
from tests.trial_builder import TrialBuilder, record, steady, worker

ARM: dict[str, Any] = {
    "name": "a",
    "token": {"kind": "softhsm"},
    "topology": {"kind": "prefork", "processes": 1, "threads": 1},
    "context": {"policy": "per-process", "session": "per-thread", "locking": "os"},
    "workload": {"kind": "sign", "key": "ec-p256", "mechanism": "ECDSA", "driver": "native"},
    "load": {"mode": "open", "rate_hz": 100.0},
}
NULL = ARM | {"name": "null", "token": None, "context": None, "workload": {"kind": "null"}}


def summary(arms: list[dict[str, Any]], facts: list[TrialFacts], **fields: Any) -> dict[str, Any]:
    margins = {"response_ms.p50": 0.05}
    return summarise("run", "scenario", "question?", 7, arms_of({"arms": arms}), margins, facts, **fields)


def late(arm: str, lag_ms: float, lasts_ms: float = 1.0, operations: int = 300) -> TrialFacts:
    builder = TrialBuilder()
    for sequence in range(operations):
        builder.operation(sequence=sequence, at=10 * sequence, lag=lag_ms, lasts=lasts_ms)
    return builder.examine(record(worker(1, operations), arm=arm))


def test_an_arm_has_every_name_of_the_contract() -> None:
    found = summary([ARM], [steady(record(worker(1, 40)), 30)])
    arm = found["arms"]["a"]
    assert set(found) >= {"schema", "run", "scenario", "seed", "valid", "invalid_because", "arms", "comparisons"}
    assert set(arm) >= {
        "token",
        "topology",
        "context",
        "session",
        "locking",
        "bridge",
        "server",
        "workload",
        "trials",
        "planned",
        "ok",
        "fail",
        "info",
        "shed",
        "verified",
        "throughput_hz",
        "response_ms",
        "service_ms",
        "lag_ms",
        "pkcs11_ms",
        "cold_ms",
        "sessions",
        "processes",
        "failures",
        "rules",
    }
    assert list(arm["response_ms"]) == ["p50", "p90", "p99", "p99.9", "max"]
    assert tuple(arm["rules"]) == RULES
    assert all(set(rule) >= {"verdict", "count", "evidence"} for rule in arm["rules"].values())
    json.dumps(found, allow_nan=False)


def test_counts_add_up_and_missing_figures_are_null() -> None:
    arm = summary([ARM], [steady(record(worker(1, 40)), 30)])["arms"]["a"]
    assert (arm["planned"], arm["ok"], arm["shed"]) == (40, 30, 10)
    assert arm["response_ms"] == {"p50": 1.0, "p90": 1.0, "p99": None, "p99.9": None, "max": 1.0}
    assert arm["throughput_hz"] == 30.0
    assert arm["cold_ms"]["login"] is None
    assert arm["processes"] == {"started": 1, "crashed": 0, "hung": 0, "pss_mib_p50": 2.0}


def test_pkcs11_durations_are_by_function() -> None:
    facts = TrialBuilder().begin().operation().examine(record(worker(1, 1)))
    assert summary([ARM], [facts])["arms"]["a"]["pkcs11_ms"]["C_Login"] == {"count": 1, "p50": 0.5, "p99": None}


def test_quantiles_are_of_all_operations_and_not_averages_of_trials() -> None:
    facts = [steady(record(worker(1, n), number=n, block=n), n, lasts) for n, lasts in ((1, 9.0), (10, 1.0))]
    assert summary([ARM], facts)["arms"]["a"]["service_ms"]["p50"] == 1.0


def test_a_trial_that_is_invalid_makes_the_run_invalid_and_gives_no_latency() -> None:
    found = summary([ARM], [steady(record(worker(1, 30), lost_rows=1), 30)])
    assert found["invalid_because"] == ["trial 1 (a): 1 rows were lost"]
    assert not found["valid"]
    assert found["arms"]["a"]["service_ms"]["p50"] is None
    assert found["arms"]["a"]["ok"] == 30


def test_an_interrupted_trial_is_partial_and_not_invalid() -> None:
    facts = [steady(record(worker(1, 30)), 30), steady(record(worker(1, 30), number=2, partial=True), 2, 50.0)]
    found = summary([ARM], facts)
    assert (found["valid"], found["partial"]) == (True, True)
    assert found["arms"]["a"]["service_ms"]["max"] == 1.0


def test_an_arm_without_a_trial_and_a_trial_without_an_arm_are_both_named() -> None:
    found = summary([ARM], [steady(record(worker(1, 1), arm="b"), 1)])
    assert found["invalid_because"] == ["trial 1: the scenario has no arm b", "a: no trial"]


@pytest.mark.parametrize(("null_lag_ms", "valid"), [(0.5, False), (0.01, True)])
def test_a_late_generator_makes_the_run_invalid_only_where_the_null_arm_is_late_too(
    null_lag_ms: float, valid: bool
) -> None:
    found = summary([ARM, NULL], [late("a", 0.5), late("null", null_lag_ms, 0.001)])
    assert found["valid"] is valid


def test_a_few_operations_do_not_convict_the_generator() -> None:
    assert summary([ARM, NULL], [late("a", 0.5, operations=30), late("null", 0.5, 0.001, 30)])["valid"]


def test_a_null_arm_of_another_shape_says_nothing_about_the_generator() -> None:
    other = NULL | {"topology": {"kind": "prefork", "processes": 9, "threads": 1}}
    assert summary([ARM, other], [late("a", 0.5), late("null", 0.5)])["valid"]


def test_a_late_generator_leaves_response_without_a_verdict() -> None:
    second = ARM | {"name": "b"}
    facts = [replace(late(arm, lag), block=block) for block in range(1, 7) for arm, lag in (("a", 0.01), ("b", 0.5))]
    (found,) = summary([ARM, second], facts)["comparisons"]
    assert found["verdict"] == "inconclusive"
    assert found["because"].startswith("the generator was late in b: 0.5 ms at p50")


def test_a_null_arm_is_the_floor_and_not_a_rival() -> None:
    facts = [replace(late(arm, 0.01), block=block) for block in range(1, 7) for arm in ("a", "null")]
    assert summary([ARM, NULL], facts)["comparisons"] == []


def test_a_null_arm_has_no_context_and_no_token() -> None:
    info = ArmInfo.from_json(NULL)
    assert (info.token, info.context, info.session, info.locking) == (None, None, None, None)


def test_rows_of_one_process_that_lie_apart_are_refused() -> None:
    table = {name: column[[0, 2, 1]] for name, column in TrialBuilder().begin(1).begin(2).calls.items() if column.size}
    table["process"][:] = [1, 2, 1]
    with pytest.raises(ValueError, match="not together"):
        list(by_process(table))


def test_trials_are_counted_by_their_label_and_those_that_tell_nothing_are_not() -> None:
    trials = [(300, 0), (300, 1), (30, 0)]
    facts = []
    for number, (operations, change) in enumerate(trials, start=1):
        builder = TrialBuilder()
        for sequence in range(operations):
            builder.operation(sequence=sequence, at=sequence, lasts=1 + change * (sequence < 150))
        facts.append(
            builder.examine(record(worker(1, operations), number=number, block=number, duration_ns=300_000_000))
        )
    assert summary([ARM], facts)["arms"]["a"]["warmup"] == {"flat": 1, "warming": 1, "slowing": 0, "unstable": 0}
    assert summary([ARM], facts)["arms"]["a"]["ci"]["service_ms"]["p50"] is None  # of three trials
