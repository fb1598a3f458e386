"""Intervals of one arm: how often they hold the truth, on data whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from lab.analysis import bootstrap, intervals
from lab.analysis.course import SLICES, Course
from lab.analysis.latency import Latency
from lab.analysis.quantiles import distribution
from tests.analysis.drawn import Draw, autocorrelated, bimodal, held, lognormal, places_of, trial_effects
from tests.analysis.simulated import trial

TRIALS, OPERATIONS, REPETITIONS = 12, 400, 240
PLACES = places_of(OPERATIONS)


@pytest.mark.parametrize("name", intervals.NAMES)
@pytest.mark.parametrize("draw", [lognormal, bimodal, autocorrelated, trial_effects])
def test_intervals_hold_the_true_quantile_in_93_to_97_of_100_runs(draw: Draw, name: str) -> None:
    """At the floors, where it is hardest. The bands are left by chance once in a thousand times at 93 or 97 %: so few
    runs notice 88 %, not 92 %. benchmarks/coverage.py draws as many as docs/method.md tells of."""
    trials = intervals.LEAST_TRIALS[name]
    operations = intervals.LEAST_OPERATIONS[name] // trials
    covered, none = held(draw, name, trials, operations, 11, REPETITIONS, bootstrap.REPLICATES)
    assert none <= 0.02 * REPETITIONS
    least, most = stats.binom.ppf(0.001, REPETITIONS - none, 0.93), stats.binom.ppf(0.999, REPETITIONS - none, 0.97)
    assert least <= covered <= most, covered


def test_the_throughput_s_interval_holds_the_true_rate() -> None:
    random = np.random.default_rng(12)
    covered = 0
    for _ in range(REPETITIONS):
        rates = 400 * np.exp(random.normal(0, 0.1, TRIALS))
        courses = [Course(done=random.poisson(rate / SLICES, SLICES)) for rate in rates]
        facts = [trial(np.ones(1), course=course, block=block) for block, course in enumerate(courses)]
        low, high = intervals.of_arm(facts, Latency(), seed=1)["throughput_hz"]
        covered += low <= 400 * np.exp(0.1**2 / 2) <= high
    assert stats.binom.ppf(0.001, REPETITIONS, 0.93) <= covered <= stats.binom.ppf(0.999, REPETITIONS, 0.97)


def arm(trials: int, operations: int = OPERATIONS, **changes: Any) -> dict[str, Any]:
    random = np.random.default_rng(13)
    places = places_of(operations)
    facts = []
    for block in range(1, trials + 1):
        service = np.rint(1e6 * np.exp(random.normal(0, 0.5, operations))).astype(np.int64)
        course = Course(places, service, done=np.bincount(places, minlength=SLICES))
        facts.append(trial(service / 1e6, block=block, course=course, **changes))
    delays = Latency(service=distribution(np.concatenate([each.course.service_ns for each in facts])))
    return intervals.of_arm(facts, delays, seed=1)


def test_an_interval_lies_around_its_figure_and_is_the_same_each_time() -> None:
    found = arm(12)
    assert found == arm(12)
    assert found["service_ms"]["p50"][0] < 1 < found["service_ms"]["p50"][1]
    assert found["throughput_hz"][0] <= OPERATIONS <= found["throughput_hz"][1]
    assert found["response_ms"] == {"p50": None, "p90": None, "p99": None}


def test_five_trials_and_quantiles_below_their_floor_have_none() -> None:
    assert arm(5)["service_ms"]["p50"] is None
    assert arm(5)["throughput_hz"] is None
    few = arm(6, operations=180)["service_ms"]
    assert few["p50"] is not None
    assert few["p90"] is None
    assert few["p99"] is None


def test_a_p99_takes_more_trials_than_a_median() -> None:
    """What is rare is told by few trials, however many operations they have."""
    few = arm(intervals.LEAST_TRIALS["p99"] - 1, operations=1000)["service_ms"]
    assert few["p90"] is not None
    assert few["p99"] is None
    assert arm(intervals.LEAST_TRIALS["p99"], operations=800)["service_ms"]["p99"] is not None
    assert arm(intervals.LEAST_TRIALS["p99"], operations=799)["service_ms"]["p99"] is None


def test_a_quantile_whose_upper_end_would_lie_above_all_values_has_none() -> None:
    """120 operations in 6 trials: a true p99 may well be above the largest of them."""
    random = np.random.default_rng(13)
    values = np.rint(1e6 * lognormal(random, 6, 20)).astype(np.int64)
    assert intervals.of_quantile(0.99, [places_of(20)] * 6, list(values), distribution(values.ravel()), random) is None


def test_half_of_the_operations_tell_nearly_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are very many, a course holds a part of them, and the quantiles are still of all."""
    values = np.rint(1e6 * trial_effects(np.random.default_rng(14), TRIALS, OPERATIONS)).astype(np.int64)
    every = distribution(values.ravel())
    ends = [
        intervals.of_quantile(0.5, [PLACES[::step]] * TRIALS, list(values[:, ::step]), every, np.random.default_rng(1))
        for step in (1, 2)
    ]
    assert None not in ends
    assert ends[1] == pytest.approx(ends[0], rel=0.03)


def test_nothing_done_has_no_interval() -> None:
    assert (
        intervals.of_arm([trial(np.ones(1), block=block) for block in range(6)], Latency(), 1)["throughput_hz"] is None
    )
