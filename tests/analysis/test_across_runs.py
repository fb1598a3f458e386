"""The same arm in two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab.analysis.across_runs import AcrossRuns, compare_runs
from lab.analysis.facts import TrialFacts
from tests.trial_builder import record, steady, worker

P50 = {"service_ms.p50": 0.05}
BASE = (1.0, 1.1, 0.9, 1.2, 1.05, 0.95)


def trials(durations: Sequence[float]) -> list[TrialFacts]:
    return [
        steady(record(worker(1, 30), block=block, number=block), 30, lasts)
        for block, lasts in enumerate(durations, start=1)
    ]


def one(first: Sequence[TrialFacts], second: Sequence[TrialFacts]) -> AcrossRuns:
    (found,) = compare_runs("a", first, second, P50, seed=1)
    return found


def test_twice_as_long_is_slower_and_the_other_way_round_faster() -> None:
    forth, back = one(trials(BASE), trials([2 * ms for ms in BASE])), one(trials([2 * ms for ms in BASE]), trials(BASE))
    assert (forth.verdict, back.verdict) == ("slower", "faster")
    assert forth.ratio == pytest.approx(2, rel=1e-4)
    assert back.ratio == pytest.approx(0.5, rel=1e-4)
    assert (forth.trials, forth.method) == ((6, 6), "permutation")


def test_what_the_user_cut_off_is_no_failure_of_the_arm() -> None:
    *whole, last = trials([2 * ms for ms in (*BASE, 1.0)])
    cut = replace(last, partial=True, outcomes=replace(last.outcomes, planned=300, shed=270))
    assert one(trials(BASE), [*whole, cut]).verdict == "slower"


def test_four_trials_tell_one_metric_apart_and_not_two() -> None:
    """The smallest p of 4 and 4 is 2 of 70: 0.029, and 0.057 after Holm's correction for two."""
    ours, theirs = trials(BASE[:4]), trials([2 * ms for ms in BASE[:4]])
    assert one(ours, theirs).verdict == "slower"
    for found in compare_runs("a", ours, theirs, P50 | {"service_ms.max": 0.05}, seed=1):
        assert (found.verdict, found.p_adjusted) == ("inconclusive", pytest.approx(4 / 70))
        assert found.because == "p = 0.057 after Holm's correction for the arm's metrics"


def test_trials_are_not_paired_by_block() -> None:
    assert one(trials(BASE), trials(BASE)) == one(trials(BASE), trials(BASE[::-1]))


def test_runs_that_hardly_vary_and_agree_are_equivalent() -> None:
    assert one(trials([1, 1.001, 1.002, 1.003]), trials([1.001, 1.002, 1.003, 1.004])).verdict == "equivalent"


def test_what_varies_more_than_the_margin_is_inconclusive() -> None:
    found = one(trials(BASE), trials(BASE))
    assert (found.verdict, found.because) == ("inconclusive", "the interval does not clear the margin of 5 %")


def test_where_the_numbers_of_trials_differ_welch_s_test_is_taken_and_wants_six() -> None:
    assert one(trials(BASE), trials([2 * ms for ms in (*BASE, 1.0)])).method == "welch"
    few = one(trials(BASE[:4]), trials(BASE))
    assert (few.verdict, few.ci) == ("inconclusive", None)
    assert few.because == "4 and 6 trials with this figure, 6 are needed where their numbers differ"


def test_three_trials_are_too_few() -> None:
    found = one(trials(BASE[:3]), trials(BASE[:3]))
    assert found.because == "too few trials with this figure: 3 in each, 4 are needed"


def test_failures_come_first() -> None:
    failing = [
        replace(trial, outcomes=replace(trial.outcomes, ok=trial.outcomes.ok - 9, fail=9)) for trial in trials(BASE)
    ]
    found = one(trials(BASE), failing)
    assert (found.verdict, found.ratio) == ("not-comparable", None)
    assert str(found.because).startswith("failure rates differ: A 0 %, B ")
    assert one([], failing).because == "A has no trial of it"


def test_several_metrics_are_corrected_together_and_an_obstacle_is_that_of_all() -> None:
    metrics = {**P50, "throughput_hz": 0.05}
    found = compare_runs("a", trials(BASE), trials([2 * ms for ms in BASE]), metrics, 1)
    assert [each.metric for each in found] == list(metrics)
    assert found[0].p_value is not None
    assert found[0].p_adjusted == pytest.approx(2 * found[0].p_value)
    refused = compare_runs("a", trials(BASE), trials(BASE), metrics, 1, obstacle="B is not valid")
    assert {(each.verdict, each.because) for each in refused} == {("not-comparable", "B is not valid")}


def test_a_difference_that_the_correction_makes_chance_is_no_verdict() -> None:
    """Of two samples of 4 no p is below 2/70, which is enough for one metric and not for two."""
    four, doubled = trials(BASE[:4]), trials([2 * ms for ms in BASE[:4]])
    assert one(four, doubled).verdict == "slower"
    found, _ = compare_runs("a", four, doubled, {**P50, "throughput_hz": 0.05}, seed=1)
    assert (found.verdict, found.because) == (
        "inconclusive",
        "p = 0.057 after Holm's correction for the arm's metrics",
    )


def test_interrupted_and_invalid_trials_take_no_part() -> None:
    cut, late = (steady(record(worker(1, 30), block=block, number=block), 30, 50.0) for block in (7, 8))
    more = [*trials(BASE), replace(cut, partial=True), replace(late, invalid_because=("rows were lost",))]
    assert one(trials(BASE), more) == one(trials(BASE), trials(BASE))
