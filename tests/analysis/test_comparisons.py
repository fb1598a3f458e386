"""Verdicts between arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lab.analysis import comparisons
from lab.analysis.comparisons import compare, verdict_of, workers_differ
from lab.analysis.outcomes import Outcomes
from lab.analysis.trial import ProcessFacts, TrialFacts
from tests.trial_builder import record, steady, worker

P50 = {"service_ms.p50": 0.05}


def trials(durations: Sequence[float], arm: str = "a") -> list[TrialFacts]:
    return [
        steady(record(worker(1, 30), arm=arm, block=block, number=block), 30, lasts)
        for block, lasts in enumerate(durations, start=1)
    ]


def with_outcomes(facts: list[TrialFacts], **changes: int) -> list[TrialFacts]:
    return [replace(trial, outcomes=replace(trial.outcomes, **changes)) for trial in facts]


@pytest.mark.parametrize(
    ("ci", "more_is_faster", "verdict"),
    [
        ((0.97, 1.04), False, "equivalent"),
        ((1.06, 1.20), False, "slower"),
        ((1.06, 1.20), True, "faster"),
        ((0.80, 0.90), False, "faster"),
        ((0.80, 0.90), True, "slower"),
        ((1.01, 1.20), False, "inconclusive"),
        ((0.90, 0.97), False, "inconclusive"),
        ((0.951, 0.97), False, "inconclusive"),  # the margin of a ratio below 1 is that of its inverse
        ((0.80, 1.20), True, "inconclusive"),
    ],
)
def test_the_whole_interval_must_clear_the_margin(ci: tuple[float, float], more_is_faster: bool, verdict: str) -> None:
    assert verdict_of(ci, 0.05, more_is_faster) == verdict


def test_an_arm_whose_every_trial_takes_a_fifth_longer_is_slower() -> None:
    base = [1.0, 1.1, 0.9, 1.2, 1.05, 0.95]
    found = compare(["a", "b"], {"a": trials(base), "b": trials([1.2 * ms for ms in base], "b")}, P50, seed=1)[0]
    assert found.verdict == "slower"
    assert found.ratio == pytest.approx(1.2, rel=1e-4)
    assert found.p_value == pytest.approx(2 / 64)
    assert found.blocks == 6


def test_swapping_the_labels_turns_slower_into_faster_and_inverts_the_ratio() -> None:
    slow, fast = trials([1.2, 1.3, 1.25, 1.2, 1.22, 1.28]), trials([1.0] * 6, "b")
    forth = compare(["a", "b"], {"a": slow, "b": fast}, P50, 1)[0]
    back = compare(["b", "a"], {"a": slow, "b": fast}, P50, 1)[0]
    assert (forth.verdict, back.verdict) == ("faster", "slower")
    assert forth.ratio is not None
    assert back.ratio == pytest.approx(1 / forth.ratio)


def test_blocks_are_paired_by_their_number_not_by_their_place() -> None:
    drift = [1.0, 2, 3, 4, 5, 6]
    found = compare(["a", "b"], {"a": trials(drift), "b": trials(drift, "b")[::-1]}, P50, 1)[0]
    assert (found.verdict, found.ratio) == ("equivalent", 1.0)


def test_five_blocks_are_too_few() -> None:
    found = compare(["a", "b"], {"a": trials([1.0] * 5), "b": trials([2.0] * 5, "b")}, P50, 1)[0]
    assert found.verdict == "inconclusive"
    assert found.because == "5 blocks with this figure in both arms, 6 are needed"


def test_one_block_and_one_wrong_signature_are_singular() -> None:
    wrong = replace(trials([1.0])[0].outcomes, wrong=1)
    assert comparisons.failure_rates_differ(wrong, wrong, "a", "b") == "a has 1 wrong signature"
    found = compare(["a", "b"], {"a": trials([1.0]), "b": trials([2.0], "b")}, P50, 1)[0]
    assert found.because == "1 block with this figure in both arms, 6 are needed"
    found = compare(["a", "b"], {"a": trials([1.0]), "b": trials([1.0], "b")}, {"service_ms.p99": 0.1}, 1)[0]
    assert found.because is not None
    assert found.because.endswith("(1 block has too few operations for it, or none)")


@pytest.mark.parametrize("arms", [{"a": trials([1.0])}, {"a": trials([1.0]), "b": []}])
def test_an_arm_without_a_trial_is_told_as_such(arms: dict[str, list[TrialFacts]]) -> None:
    found = compare(["a", "b"], arms, P50, 1)[0]
    assert (found.verdict, found.because) == ("not-comparable", "b has no trial")


def test_a_quantile_below_its_floor_is_compared_with_nothing() -> None:
    found = compare(["a", "b"], {"a": trials([1.0] * 6), "b": trials([1.0] * 6, "b")}, {"service_ms.p99": 0.1}, 1)[0]
    assert found.verdict == "inconclusive"
    assert found.because is not None
    assert "6 blocks have too few operations" in found.because


def test_interrupted_and_invalid_trials_take_no_part() -> None:
    broken = [replace(trial, partial=True) for trial in trials([9.0] * 6, "b")]
    found = compare(["a", "b"], {"a": trials([1.0] * 6), "b": broken}, P50, 1)[0]
    assert found.blocks == 0


def test_what_the_user_cut_off_is_no_failure_of_the_arm() -> None:
    """Its planned operations have no row, and its workers were killed; what it did before that counts."""
    *whole, last = trials([2.0] * 7, "b")
    killed = replace(last.processes, workers=40, failed=40)
    cut = replace(last, partial=True, processes=killed)
    arms = {"a": trials([1.0] * 7), "b": [*whole, *with_outcomes([cut], planned=300, ok=20, info=2, shed=278)]}
    (found,) = compare(["a", "b"], arms, P50, 1)
    assert (found.verdict, found.because, found.blocks) == ("slower", None, 6)
    arms["b"][-1:] = with_outcomes([cut], planned=300, ok=20, fail=20, shed=260)
    (found,) = compare(["a", "b"], arms, P50, 1)
    assert found.because == "failure rates differ: a 0 %, b 9.09 %"


def test_failure_rates_are_compared_before_latencies() -> None:
    failing = with_outcomes(trials([0.5] * 6, "b"), ok=20, fail=10)
    found = compare(["a", "b"], {"a": trials([1.0] * 6), "b": failing}, P50, 1)[0]
    assert (found.verdict, found.ratio) == ("not-comparable", None)
    assert found.because == "failure rates differ: a 0 %, b 33.3 %"


@pytest.mark.parametrize(("failed", "verdict"), [(5, "equivalent"), (6, "not-comparable")])
def test_failure_rates_differ_from_a_p_of_5_percent_down(failed: int, verdict: str) -> None:
    """0 of 180 and 5 of 180: p = 0.061 by Fisher's exact test; 0 of 180 and 6 of 180: p = 0.030."""
    first, *others = trials([1.0] * 6, "b")
    arms = {"a": trials([1.0] * 6), "b": [*with_outcomes([first], ok=30 - failed, fail=failed), *others]}
    assert compare(["a", "b"], arms, P50, 1)[0].verdict == verdict


def test_arms_that_fail_equally_often_are_compared() -> None:
    arms = {name: with_outcomes(trials([1.0] * 6, name), ok=29, fail=1) for name in "ab"}
    assert compare(["a", "b"], arms, P50, 1)[0].verdict == "equivalent"


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"ok": 0, "fail": 30}, "no operation that ended well"),
        ({"wrong": 1}, "b has 6 wrong signatures"),
    ],
)
def test_an_arm_that_signs_wrongly_or_never_has_no_latency(changes: dict[str, int], because: str) -> None:
    arms = {"a": trials([1.0] * 6), "b": with_outcomes(trials([1.0] * 6, "b"), **changes)}
    found = compare(["a", "b"], arms, P50, 1)[0]
    assert found.verdict == "not-comparable"
    assert found.because is not None
    assert found.because.endswith(because)


def test_where_the_first_arm_only_fails_the_next_is_the_baseline() -> None:
    arms = {name: trials([1.0] * 6, name) for name in "abc"}
    arms["a"] = with_outcomes(arms["a"], ok=0, fail=30)
    found = compare(["a", "b", "c"], arms, P50, 1)
    assert [(each.baseline, each.arm, each.verdict) for each in found] == [
        ("b", "a", "not-comparable"),
        ("b", "c", "equivalent"),
    ]


def test_an_exception_while_judging_is_not_comparable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise FloatingPointError("overflow")

    monkeypatch.setattr(comparisons.signflip, "p_value", fail)
    found = compare(["a", "b"], {"a": trials([1.0] * 6), "b": trials([1.0] * 6, "b")}, P50, 1)[0]
    assert (found.verdict, found.because) == ("not-comparable", "judging failed with FloatingPointError: overflow")


def test_an_exception_after_the_test_is_not_comparable_either() -> None:
    def doubt(metric: str, baseline: str, arm: str) -> str | None:
        raise KeyError(arm)

    found = compare(["a", "b"], {"a": trials([1.0] * 6), "b": trials([1.0] * 6, "b")}, P50, 1, doubt)[0]
    assert (found.verdict, found.because) == ("not-comparable", "judging failed with KeyError: 'b'")


def test_an_arm_that_lost_its_workers_is_not_compared_by_its_survivors() -> None:
    lost = ProcessFacts(started=4, crashed=3, hung=0, pss_mib=(), workers=4, failed=3)
    kept = ProcessFacts(started=4, crashed=0, hung=0, pss_mib=(), workers=4, failed=0)
    facts = steady(record(worker(1, 30)), 30)
    whole = [replace(facts, processes=kept)] * 6
    broken = [replace(facts, processes=lost)] * 6
    assert workers_differ(whole, whole, "a", "b") is None
    assert workers_differ(whole, broken, "a", "b") == "workers failed: a 0 of 24, b 18 of 24"


def test_a_doubt_leaves_the_figures_and_takes_the_verdict() -> None:
    arms = {"a": trials([1.0] * 6), "b": trials([2.0] * 6, "b")}
    found = compare(["a", "b"], arms, P50, 1, lambda metric, baseline, arm: "the generator was late")[0]
    assert (found.verdict, found.because) == ("inconclusive", "the generator was late")
    assert found.ratio == pytest.approx(2)


def test_outcomes_without_any_trial_cannot_be_compared() -> None:
    assert comparisons.failure_rates_differ(Outcomes(), Outcomes(), "a", "b") == "a has no operation that ended well"


def test_arms_on_the_edge_of_the_margin_are_called_equivalent_in_one_run_of_forty_at_most() -> None:
    random = np.random.default_rng(8)
    repetitions, false = 600, 0
    for _ in range(repetitions):
        low, high = comparisons.signflip.interval(random.normal(math.log(1.05), 0.02, 12)) or (math.nan, math.nan)
        false += verdict_of((math.exp(low), math.exp(high)), 0.05, False) == "equivalent"
    assert 0 < false <= stats.binom.ppf(0.999, repetitions, 0.025)


def test_identical_arms_are_called_different_no_more_often_than_the_level_allows() -> None:
    """A/A: 12 blocks with trial effects of 10 %, no margin to hide in, so `faster` or `slower` is a false verdict."""
    random = np.random.default_rng(7)
    repetitions = 400
    false = 0
    for _ in range(repetitions):
        base, arm = random.normal(0, 0.1, (2, 12))
        low, high = comparisons.signflip.interval(arm - base) or (math.nan, math.nan)
        false += verdict_of((math.exp(low), math.exp(high)), 1e-9, False) in ("faster", "slower")
    assert false <= stats.binom.ppf(0.9999, repetitions, 0.05)
    assert false >= stats.binom.ppf(0.0001, repetitions, 0.05)
