"""Arms against a baseline, block by block, with one of five verdicts.

The baseline is the scenario's first arm; where that arm has no operation that ended well, or wrong signatures,
nothing can be compared with it, and the first arm that has a latency takes its place. Each other arm is compared with
it in each metric that the scenario gives a margin: the figure of each trial, divided by that of the baseline's trial
in the same block, as a logarithm; then the exact sign-flip test and its interval over blocks (signflip.py).

Failure rates come first: the latency of survivors is no latency. Where one arm has no operation that ended well, has
a wrong signature, or fails more often than the other (Fisher's exact test over all operations, p < 0.05; it takes
operations for independent, so it errs towards not comparing), or lost more of its workers (the same test over
workers, for in a closed loop a dead worker plans nothing), the pair is `not-comparable`. What the user's interruption
cut off is no failure of the arm.

Otherwise the whole interval of the ratio must clear the margin m: inside [1/(1+m), 1+m] is `equivalent`, beyond it on
one side is `faster` or `slower`, and anything else, or fewer than 6 blocks, is `inconclusive`. For a rate
(throughput_hz) more is faster; for everything else less is. An exception while judging is `not-comparable`.

Several metrics of an arm give chance several chances. So `faster` and `slower` also need a p-value below 0.05 after
Holm's correction over all metrics of the arm that could be tested (holm.py). `equivalent` needs no correction: chance
makes arms differ, and where they truly do, the interval lies within the margin in 2.5 % of the cases at most.

Where the verdict is `inconclusive` for want of blocks, blocks_to_decide says how many a run would take (deciding.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lab.analysis import holm, signflip
from lab.analysis.deciding import blocks_to_decide, least_blocks
from lab.analysis.facts import TrialFacts
from lab.analysis.outcomes import Outcomes

Verdict = Literal["equivalent", "faster", "slower", "inconclusive", "not-comparable"]

SIGNIFICANCE: Final = 0.05
_MORE_IS_FASTER: Final = frozenset({"throughput_hz"})


@dataclass(frozen=True)
class Comparison:
    """One metric of one arm against the baseline; ratio is arm / baseline, ci its 95 % interval.

    p_value: that there is no difference; p_adjusted: the same after Holm's correction over the metrics of the arm.
    """

    metric: str
    baseline: str
    arm: str
    margin: float
    verdict: Verdict
    because: str | None = None
    ratio: float | None = None
    ci: tuple[float, float] | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    blocks: int = 0
    blocks_to_decide: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "baseline": self.baseline,
            "arm": self.arm,
            "ratio": self.ratio,
            "ci": None if self.ci is None else list(self.ci),
            "margin": self.margin,
            "verdict": self.verdict,
            "because": self.because,
            "p_value": self.p_value,
            "p_adjusted": self.p_adjusted,
            "blocks": self.blocks,
            "blocks_to_decide": self.blocks_to_decide,
        }


Doubt = Callable[[str, str, str], str | None]
"""(metric, baseline, arm) -> why a verdict on this metric would not hold, or None."""


def compare(
    arms: Sequence[str],
    trials: Mapping[str, Sequence[TrialFacts]],
    margins: Mapping[str, float],
    seed: int,
    doubt: Doubt = lambda metric, baseline, arm: None,
) -> list[Comparison]:
    """Every arm against the baseline, in every metric of `margins`; trials by arm name."""
    if not arms:
        return []
    figures = {arm: _by_block(trials.get(arm, ())) for arm in arms}
    outcomes = {arm: outcomes_of(trials.get(arm, ())) for arm in arms}
    baseline = baseline_of(arms, outcomes)
    found = []
    for arm in arms:
        if arm == baseline:
            continue
        try:
            obstacle = obstacle_between(baseline, arm, trials, outcomes)
        except Exception as problem:  # what cannot be judged is not comparable, never a verdict
            obstacle = f"judging failed with {type(problem).__name__}: {problem}"
        if obstacle:
            found += [Comparison(metric, baseline, arm, m, "not-comparable", obstacle) for metric, m in margins.items()]
            continue
        tested = [
            _Tested.of(Comparison(metric, baseline, arm, margin, "inconclusive"), figures, seed)
            for metric, margin in margins.items()
        ]
        found += [_judged(each, doubt) for each in _corrected(tested)]
    return found


def baseline_of(arms: Sequence[str], outcomes: Mapping[str, Outcomes]) -> str:
    """The first arm with a latency; the first of all where none has one."""
    return next((arm for arm in arms if outcomes[arm].ok and not outcomes[arm].wrong), arms[0])


def outcomes_of(trials: Iterable[TrialFacts]) -> Outcomes:
    """What became of all operations of an arm, those that an interruption cut off left out: the arm failed at none."""
    return sum((trial.outcomes.ended if trial.partial else trial.outcomes for trial in trials), Outcomes())


def obstacle_between(
    baseline: str, arm: str, trials: Mapping[str, Sequence[TrialFacts]], outcomes: Mapping[str, Outcomes]
) -> str | None:
    """Why the two cannot be compared in any metric, or None."""
    return (
        _without_trial(trials, baseline, arm)
        or failure_rates_differ(outcomes[baseline], outcomes[arm], baseline, arm)
        or workers_differ(trials.get(baseline, ()), trials.get(arm, ()), baseline, arm)
    )


def _without_trial(trials: Mapping[str, Sequence[TrialFacts]], *names: str) -> str | None:
    return next((f"{name} has no trial" for name in names if not trials.get(name)), None)


def failure_rates_differ(baseline: Outcomes, arm: Outcomes, baseline_name: str, arm_name: str) -> str | None:
    """Why the two cannot be compared, or None. Failed: planned and not ok."""
    for name, counted in ((baseline_name, baseline), (arm_name, arm)):
        if not counted.ok:
            return f"{name} has no operation that ended well"
        if counted.wrong:
            return f"{name} has {_counted(counted.wrong, 'wrong signature')}"
    failed = [counted.planned - counted.ok for counted in (baseline, arm)]
    if not any(failed):
        return None
    p = _fisher_p(np.array([[baseline.ok, failed[0]], [arm.ok, failed[1]]]))
    if p >= SIGNIFICANCE:
        return None
    rates = [f"{100 * lost / counted.planned:.3g} %" for lost, counted in zip(failed, (baseline, arm), strict=True)]
    return f"failure rates differ: {baseline_name} {rates[0]}, {arm_name} {rates[1]}"


def workers_differ(
    baseline: Iterable[TrialFacts], arm: Iterable[TrialFacts], baseline_name: str, arm_name: str
) -> str | None:
    """Why the two cannot be compared, or None: workers that failed.

    In a closed loop their loss does not show in the rate of failed operations, and the survivors have the token for
    themselves.
    """
    counted = [
        (sum(trial.processes.workers for trial in trials), sum(trial.processes.failed for trial in trials))
        for trials in ([trial for trial in each if not trial.partial] for each in (baseline, arm))
    ]
    if not any(failed for _, failed in counted):
        return None
    table = np.array([[workers - failed, failed] for workers, failed in counted])
    if _fisher_p(table) >= SIGNIFICANCE:
        return None
    shares = [f"{failed} of {workers}" for workers, failed in counted]
    return f"workers failed: {baseline_name} {shares[0]}, {arm_name} {shares[1]}"


def _fisher_p(table: NDArray[np.int64]) -> float:
    """Two-sided p of Fisher's exact test of a table of 2 by 2 (scipy.stats.fisher_exact)."""
    from scipy import stats  # half a second of every report, where most have nothing to test

    return float(stats.fisher_exact(table).pvalue)


def verdict_of(ci: tuple[float, float], margin: float, more_is_faster: bool) -> Verdict:
    """What a 95 % interval of a ratio says, seen from the arm."""
    low, high = ci
    if low >= 1 / (1 + margin) and high <= 1 + margin:
        return "equivalent"
    if low > 1 + margin:
        return "faster" if more_is_faster else "slower"
    if high < 1 / (1 + margin):
        return "slower" if more_is_faster else "faster"
    return "inconclusive"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _by_block(trials: Iterable[TrialFacts]) -> dict[int, dict[str, float | None]]:
    return {trial.block: trial.figures() for trial in trials if trial.usable}


@dataclass(frozen=True)
class _Tested:
    """A comparison before its verdict. One without differences to test has it already."""

    found: Comparison
    differences: NDArray[np.float64] | None = None
    metrics: int = 1  # of the arm that could be tested

    @staticmethod
    def of(asked: Comparison, figures: Mapping[str, Mapping[int, Mapping[str, float | None]]], seed: int) -> _Tested:
        try:
            return _Tested._of(asked, figures, seed)
        except Exception as problem:  # what cannot be judged is not comparable, never a verdict
            because = f"judging failed with {type(problem).__name__}: {problem}"
            return _Tested(replace(asked, verdict="not-comparable", because=because))

    @staticmethod
    def _of(asked: Comparison, figures: Mapping[str, Mapping[int, Mapping[str, float | None]]], seed: int) -> _Tested:
        ratios = []
        missing = 0
        baseline, arm = figures[asked.baseline], figures[asked.arm]
        for block in sorted(baseline.keys() & arm.keys()):
            base, own = baseline[block].get(asked.metric), arm[block].get(asked.metric)
            if base is None or own is None:
                missing += 1
            elif base <= 0 or own <= 0:
                because = f"a figure of 0 in block {block} has no ratio"
                return _Tested(replace(asked, verdict="not-comparable", because=because))
            else:
                ratios.append(math.log(own / base))
        differences = np.array(ratios)
        found = replace(asked, ratio=math.exp(float(differences.mean())) if ratios else None, blocks=len(ratios))
        if len(ratios) < signflip.LEAST_BLOCKS:
            counted = _counted(len(ratios), "block")
            because = f"{counted} with this figure in both arms, {signflip.LEAST_BLOCKS} are needed"
            if missing:
                have = "has" if missing == 1 else "have"
                because += f" ({_counted(missing, 'block')} {have} too few operations for it, or none)"
            return _Tested(replace(found, because=because))
        ends = signflip.interval(differences, seed=seed)
        if ends is None:
            raise ValueError("no interval")
        p = signflip.p_value(differences, seed)
        return _Tested(replace(found, ci=(math.exp(ends[0]), math.exp(ends[1])), p_value=p), differences)


def _corrected(tested: Sequence[_Tested]) -> list[_Tested]:
    """The same, with p-values adjusted for each other."""
    p_values = [each.found.p_value for each in tested if each.found.p_value is not None]
    adjusted = iter(holm.adjusted(p_values))
    return [
        each
        if each.found.p_value is None
        else replace(each, found=replace(each.found, p_adjusted=next(adjusted)), metrics=len(p_values))
        for each in tested
    ]


def _judged(tested: _Tested, doubt: Doubt) -> Comparison:
    """With its verdict."""
    try:
        return _with_verdict(tested, doubt)
    except Exception as problem:  # as above
        because = f"judging failed with {type(problem).__name__}: {problem}"
        return replace(tested.found, verdict="not-comparable", because=because)


def _with_verdict(tested: _Tested, doubt: Doubt) -> Comparison:
    found, differences = tested.found, tested.differences
    if differences is None or found.ci is None or found.p_adjusted is None:
        return found
    if why := doubt(found.metric, found.baseline, found.arm):
        return replace(found, because=why)
    verdict = verdict_of(found.ci, found.margin, found.metric in _MORE_IS_FASTER)
    because = None
    if verdict == "inconclusive":
        because = f"the interval does not clear the margin of {100 * found.margin:g} %"
    elif verdict != "equivalent" and found.p_adjusted >= SIGNIFICANCE:
        verdict, because = "inconclusive", _by_chance(found, tested.metrics)
    more = blocks_to_decide(differences, found.margin, tested.metrics) if verdict == "inconclusive" else None
    return replace(found, verdict=verdict, because=because, blocks_to_decide=more)


def _by_chance(found: Comparison, metrics: int) -> str:
    needed = least_blocks(metrics)
    told = f"p = {found.p_adjusted:.2g} after Holm's correction for {_counted(metrics, 'metric')}"
    return told if found.blocks >= needed else f"{told}; with fewer than {needed} blocks none of them can be told apart"
