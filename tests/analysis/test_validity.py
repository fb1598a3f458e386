"""What makes a run invalid, and what does not."""

from __future__ import annotations

from dataclasses import replace

from lab.analysis.arms import arms_of
from lab.analysis.latency import Latency
from lab.analysis.validity import invalid_because
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
