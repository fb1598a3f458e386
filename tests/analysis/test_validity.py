"""What makes a run invalid, and what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lab.analysis.arms import arms_of
from lab.analysis.latency import Latency
from lab.analysis.quantiles import distribution
from lab.analysis.validity import BUSY_SHARE, doubt, generator_share, invalid_because, unlike
from tests.sealed_run import SCENARIO
from tests.trial_builder import record, steady, worker

ARMS = arms_of({"arms": [SCENARIO["arms"][0] | {"name": name} for name in "ab"]})
LATENCIES = {"a": Latency(), "b": Latency()}


def test_an_arm_without_a_trial_makes_a_whole_run_invalid_and_an_interrupted_one_not() -> None:
    trials = {"a": [steady(record(worker(1, 1)), 1)]}
    assert invalid_because(ARMS, trials, LATENCIES) == ["b: no trial"]
    assert invalid_because(ARMS, trials, LATENCIES, partial=True) == []


def test_a_trial_that_was_interrupted_says_that_the_run_was() -> None:
    trials = {"a": [replace(steady(record(worker(1, 1)), 1), partial=True)]}
    assert invalid_because(ARMS, trials, LATENCIES) == []


def of(response_ms: float, late_ms: float, operations: int = 300) -> Latency:
    """All of one response, which is all service, and one lateness."""
    each = (distribution(np.full(operations, round(1e6 * ms))) for ms in (response_ms, response_ms, 0, late_ms))
    return Latency(*each)


@pytest.mark.parametrize(("late_ms", "doubtful"), [(0.10, False), (0.11, True)])
def test_a_generator_that_is_over_a_tenth_of_the_response_late_carries_no_verdict(
    late_ms: float, doubtful: bool
) -> None:
    latencies = {"a": of(1.0, 0.0), "b": of(1.0, late_ms)}
    assert (doubt("response_ms.p99", "a", "b", latencies, {}) is not None) == doubtful
    assert doubt("service_ms.p99", "a", "b", latencies, {}) is None
    few = {"a": of(1.0, 0.0), "b": of(1.0, late_ms, operations=298)}
    assert doubt("response_ms.p99", "a", "b", few, {}) is None


@pytest.mark.parametrize("metric", ["response_ms.p50", "service_ms.p50", "throughput_hz", "where_ms.back.p50"])
def test_what_a_busy_generator_saw_carries_no_verdict(metric: str) -> None:
    busy = doubt(metric, "a", "b", LATENCIES, {"a": 0.2, "b": BUSY_SHARE + 0.05})
    assert busy == "the generator was busy 95 % of the time in b, so it measured itself"
    assert doubt(metric, "a", "b", LATENCIES, {"a": BUSY_SHARE, "b": None}) is None


def test_what_no_client_saw_is_judged_however_busy_the_generator_was() -> None:
    assert doubt("cold_ms.total", "a", "b", LATENCIES, {"a": 1.0, "b": 1.0}) is None


def test_a_generator_s_share_is_the_median_of_the_busiest_of_each_usable_trial() -> None:
    usable = steady(record(worker(1, 1)), 1)
    shares = [(0.1, 0.3), (0.5,), (0.9, 0.2)]
    trials = [replace(usable, processes=replace(usable.processes, generator_cpu_shares=one)) for one in shares]
    assert generator_share(trials) == 0.5
    assert generator_share([usable]) is None
    assert generator_share([replace(trials[0], partial=True)]) is None


def test_the_cold_start_of_a_real_server_is_not_judged_against_the_lab_s_own() -> None:
    lab, httpd, nginx = (replace(ARMS[0], name=name, server=name) for name in ("lab", "httpd", "nginx"))
    because = unlike("cold_ms.total", lab, httpd)
    assert because is not None
    assert because.startswith("the server of lab is lab and that of httpd httpd")
    assert unlike("cold_ms.login", httpd, nginx) is not None
    assert unlike("response_ms.p50", lab, httpd) is None
    assert unlike("cold_ms.total", httpd, replace(httpd, name="other")) is None
    assert unlike("cold_ms.total", lab, replace(lab, server=None)) is None
