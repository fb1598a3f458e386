"""Arms against a baseline, block by block, with one of five verdicts.

The baseline is the scenario's first arm; where that arm has no operation that ended well, or wrong signatures,
nothing can be compared with it, and the first arm that has a latency takes its place. Each other arm is compared with
it in each metric that the scenario gives a margin: the figure of each trial, divided by that of the baseline's trial
in the same block, as a logarithm; then the exact sign-flip test and its interval over blocks (signflip.py).

Failure rates come first: the latency of survivors is no latency. Where one arm has no operation that ended well, has
a wrong signature, or fails more often than the other (Fisher's exact test over all operations, p < 0.05; it takes
operations for independent, so it errs towards not comparing), or lost more of its workers (the same test over
workers, for in a closed loop a dead worker plans nothing), the pair is `not-comparable`.

Otherwise the whole interval of the ratio must clear the margin m: inside [1/(1+m), 1+m] is `equivalent`, beyond it on
one side is `faster` or `slower`, and anything else, or fewer than 6 blocks, is `inconclusive`. For a rate
(throughput_hz) more is faster; for everything else less is. An exception while judging is `not-comparable`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lab.analysis import signflip
from lab.analysis.facts import TrialFacts
from lab.analysis.outcomes import Outcomes

Verdict = Literal["equivalent", "faster", "slower", "inconclusive", "not-comparable"]

SIGNIFICANCE: Final = 0.05
_MORE_IS_FASTER: Final = frozenset({"throughput_hz"})


@dataclass(frozen=True)
class Comparison:
    """One metric of one arm against the baseline; ratio is arm / baseline, ci its 95 % interval."""

    metric: str
    baseline: str
    arm: str
    margin: float
    verdict: Verdict
    because: str | None = None
    ratio: float | None = None
    ci: tuple[float, float] | None = None
    p_value: float | None = None
    blocks: int = 0

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
            "blocks": self.blocks,
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
    outcomes = {arm: sum((trial.outcomes for trial in trials.get(arm, ())), Outcomes()) for arm in arms}
    sound = (arm for arm in arms if outcomes[arm].ok and not outcomes[arm].wrong)
    baseline = next(sound, arms[0])
    found = []
    for arm in arms:
        if arm == baseline:
            continue
        try:
            obstacle = _without_trial(trials, baseline, arm)
            obstacle = obstacle or failure_rates_differ(outcomes[baseline], outcomes[arm], baseline, arm)
            obstacle = obstacle or workers_differ(trials.get(baseline, ()), trials.get(arm, ()), baseline, arm)
        except Exception as problem:  # what cannot be judged is not comparable, never a verdict
            obstacle = f"judging failed with {type(problem).__name__}: {problem}"
        for metric, margin in margins.items():
            if obstacle:
                found.append(Comparison(metric, baseline, arm, margin, "not-comparable", obstacle))
                continue
            try:
                found.append(
                    _one(metric, baseline, arm, margin, figures, seed, doubt(metric, baseline, arm)),
                )
            except Exception as problem:  # as above
                because = f"judging failed with {type(problem).__name__}: {problem}"
                found.append(Comparison(metric, baseline, arm, margin, "not-comparable", because))
    return found


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
        for trials in (list(baseline), list(arm))
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


def _one(
    metric: str,
    baseline: str,
    arm: str,
    margin: float,
    figures: Mapping[str, Mapping[int, Mapping[str, float | None]]],
    seed: int,
    doubt: str | None,
) -> Comparison:
    ratios = []
    missing = 0
    for block in sorted(figures[baseline].keys() & figures[arm].keys()):
        base, own = figures[baseline][block].get(metric), figures[arm][block].get(metric)
        if base is None or own is None:
            missing += 1
        elif base <= 0 or own <= 0:
            because = f"a figure of 0 in block {block} has no ratio"
            return Comparison(metric, baseline, arm, margin, "not-comparable", because)
        else:
            ratios.append(math.log(own / base))
    differences = np.array(ratios)
    ratio = math.exp(float(differences.mean())) if ratios else None
    if len(ratios) < signflip.LEAST_BLOCKS:
        because = f"{_counted(len(ratios), 'block')} with this figure in both arms, {signflip.LEAST_BLOCKS} are needed"
        if missing:
            have = "has" if missing == 1 else "have"
            because += f" ({_counted(missing, 'block')} {have} too few operations for it, or none)"
        return Comparison(metric, baseline, arm, margin, "inconclusive", because, ratio, blocks=len(ratios))
    ends = signflip.interval(differences, seed=seed)
    if ends is None:
        raise ValueError("no interval")
    ci = (math.exp(ends[0]), math.exp(ends[1]))
    p = signflip.p_value(differences, seed)
    verdict = verdict_of(ci, margin, metric in _MORE_IS_FASTER)
    why: str | None = None
    if doubt:
        verdict, why = "inconclusive", doubt
    elif verdict == "inconclusive":
        why = f"the interval does not clear the margin of {100 * margin:g} %"
    return Comparison(metric, baseline, arm, margin, verdict, why, ratio, ci, p, len(ratios))
