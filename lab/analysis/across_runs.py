"""The same arms in two runs: the second against the first, with one of the five verdicts of comparisons.py.

Trials of two runs share no block of time, so they are not paired: the logarithms of their figures are two samples, and
the test is that of unpaired.py. It tells these two runs apart, on these machines, in the state in which they were: it
does not say how much of that another run there would show again.

As within a run, failure rates come first, the whole interval must clear the margin, and `faster` and `slower` also
need a p-value below 0.05 after Holm's correction over the metrics of the arm. A run that is not valid compares to none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis import holm, latency, unpaired, validity
from lab.analysis.comparisons import (
    SIGNIFICANCE,
    Verdict,
    failure_rates_differ,
    outcomes_of,
    verdict_of,
    workers_differ,
)
from lab.analysis.facts import TrialFacts

FIRST: Final = "A"
SECOND: Final = "B"
MORE_IS_FASTER: Final = frozenset({"throughput_hz"})


@dataclass(frozen=True)
class AcrossRuns:
    """One metric of one arm; ratio is second / first, of the geometric means over trials, ci its 95 % interval.

    trials: how many of the first and of the second have the figure. method: permutation, or welch where the numbers
    of trials differ.
    """

    metric: str
    arm: str
    margin: float
    verdict: Verdict
    because: str | None = None
    ratio: float | None = None
    ci: tuple[float, float] | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    trials: tuple[int, int] = (0, 0)
    method: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ci": None if self.ci is None else list(self.ci), "trials": list(self.trials)}


def compare_runs(
    arm: str,
    first: Sequence[TrialFacts],
    second: Sequence[TrialFacts],
    margins: Mapping[str, float],
    seed: int,
    obstacle: str | None = None,
) -> list[AcrossRuns]:
    """One arm of two runs, in every metric of `margins`. obstacle: why nothing of the runs can be compared."""
    try:
        obstacle = obstacle or _obstacle(first, second)
    except Exception as problem:  # what cannot be judged is not comparable, never a verdict
        obstacle = f"judging failed with {type(problem).__name__}: {problem}"
    if obstacle:
        return [AcrossRuns(metric, arm, margin, "not-comparable", obstacle) for metric, margin in margins.items()]
    tested = [_tested(metric, arm, margin, first, second, seed) for metric, margin in margins.items()]
    adjusted = iter(holm.adjusted([each.p_value for each in tested if each.p_value is not None]))
    tested = [each if each.p_value is None else replace(each, p_adjusted=next(adjusted)) for each in tested]
    sides = {FIRST: first, SECOND: second}
    latencies = {name: latency.together([t.latency for t in trials if t.usable]) for name, trials in sides.items()}
    shares = {name: validity.generator_share(trials) for name, trials in sides.items()}
    return [_judged(each, validity.doubt(each.metric, FIRST, SECOND, latencies, shares)) for each in tested]


def _obstacle(first: Sequence[TrialFacts], second: Sequence[TrialFacts]) -> str | None:
    """Why the latencies of the two say nothing, or None."""
    for name, trials in ((FIRST, first), (SECOND, second)):
        if not trials:
            return f"{name} has no trial of it"
    ours, theirs = outcomes_of(first), outcomes_of(second)
    return failure_rates_differ(ours, theirs, FIRST, SECOND) or workers_differ(first, second, FIRST, SECOND)


def _tested(
    metric: str, arm: str, margin: float, first: Sequence[TrialFacts], second: Sequence[TrialFacts], seed: int
) -> AcrossRuns:
    asked = AcrossRuns(metric, arm, margin, "inconclusive")
    try:
        samples = [_figures(metric, trials) for trials in (first, second)]
        sizes = (samples[0].size, samples[1].size)
        for name, sample in zip((FIRST, SECOND), samples, strict=True):
            if (sample <= 0).any():
                return replace(asked, verdict="not-comparable", because=f"a figure of 0 in {name} has no ratio")
        ours, theirs = (np.log(sample) for sample in samples)
        ratio = math.exp(float(theirs.mean() - ours.mean())) if all(sizes) else None
        found = replace(asked, ratio=ratio, trials=sizes)
        if sizes[0] == sizes[1]:
            ends = unpaired.interval(ours, theirs, seed=seed) if sizes[0] else None
            if ends is None:
                return replace(found, because=f"too few trials with this figure: {sizes[0]} in each, 4 are needed")
            p, method = unpaired.p_value(ours, theirs, seed), "permutation"
        else:
            if min(sizes) < unpaired.LEAST_WELCH:
                needed = f"{unpaired.LEAST_WELCH} are needed where their numbers differ"
                return replace(found, because=f"{sizes[0]} and {sizes[1]} trials with this figure, {needed}")
            (p, ends), method = unpaired.welch(ours, theirs), "welch"
        if not all(map(math.isfinite, (p, *ends))):
            return replace(found, because="the figures do not vary, so nothing can be said of chance")
        return replace(found, ci=(math.exp(ends[0]), math.exp(ends[1])), p_value=p, method=method)
    except Exception as problem:  # as above
        because = f"judging failed with {type(problem).__name__}: {problem}"
        return replace(asked, verdict="not-comparable", because=because)


def _figures(metric: str, trials: Sequence[TrialFacts]) -> NDArray[np.float64]:
    """One per usable trial that has it, sorted: whatever the order of the trials, sums are rounded alike."""
    found = (trial.figures().get(metric) for trial in trials if trial.usable)
    return np.sort(np.array([figure for figure in found if figure is not None], np.float64))


def _judged(found: AcrossRuns, doubt: str | None) -> AcrossRuns:
    if found.ci is None or found.p_adjusted is None:
        return found
    if doubt:
        return replace(found, because=doubt)
    verdict = verdict_of(found.ci, found.margin, found.metric in MORE_IS_FASTER)
    if verdict == "inconclusive":
        return replace(found, because=f"the interval does not clear the margin of {100 * found.margin:g} %")
    if verdict != "equivalent" and found.p_adjusted >= SIGNIFICANCE:
        return replace(found, because=f"p = {found.p_adjusted:.2g} after Holm's correction for the arm's metrics")
    return replace(found, verdict=verdict)
