"""How many blocks a run is to have, from the trials of a pilot. Pure.

Only how much the pilot's blocks scatter counts, never which arm was faster: a number that followed what the pilot found
would favour one verdict. And no trial of the pilot is a trial of the run. So the level of the run's tests stays what it
is (Wittes, Brittain, The role of internal pilot studies in increasing the efficiency of clinical trials, Statistics in
Medicine 9 (1990), 65-72, which goes further and keeps the pilot's observations).

Of a few blocks the spread is taken at its upper confidence limit of 80 % (deciding.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lab.analysis.arms import ArmInfo, compared
from lab.analysis.comparisons import baseline_of, obstacle_between, outcomes_of
from lab.analysis.deciding import blocks_for, likely_spread
from lab.analysis.facts import TrialFacts
from lab.analysis.signflip import LEAST_BLOCKS
from lab.analysis.validity import unlike

FEWEST: Final = LEAST_BLOCKS
MOST: Final = 60
"""A run of an hour must not become one of a day because four blocks scattered."""


@dataclass(frozen=True)
class Choice:
    """spread: by arm and metric, the standard deviation of the pilot's log-ratios to the baseline, as seen.

    Empty where the pilot could not choose.
    """

    blocks: int
    because: str
    spread: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        spread = {arm: dict(metrics) for arm, metrics in self.spread.items()}
        return {"chosen": bool(spread), "spread": spread, "because": self.because}


def choose(
    arms: Sequence[ArmInfo], facts: Sequence[TrialFacts], margins: Mapping[str, float], blocks: int, otherwise: int
) -> Choice:
    """The number of blocks that every comparison needs, from FEWEST to MOST.

    blocks: of the pilot. otherwise: the number where the pilot cannot say, because an arm failed in it.
    """
    names, known = compared(arms), {arm.name: arm for arm in arms}
    trials = {name: [trial for trial in facts if trial.arm == name] for name in names}
    if trouble := _trouble(trials, blocks):
        return Choice(otherwise, f"in the pilot {trouble}")
    baseline = baseline_of(names, {name: outcomes_of(found) for name, found in trials.items()})
    spread: dict[str, dict[str, float]] = {}
    needs: list[tuple[int, str, str]] = []
    for arm in names:
        if arm == baseline:
            continue
        tested = {metric: _log_ratios(trials[baseline], trials[arm], metric) for metric in margins}
        tested = {metric: ratios for metric, ratios in tested.items() if len(ratios) > 1}
        found = {m: ratios for m, ratios in tested.items() if not unlike(m, known[baseline], known[arm])}
        if found:
            spread[arm] = {metric: float(np.std(ratios, ddof=1)) for metric, ratios in found.items()}
        for metric, ratios in found.items():
            needed = blocks_for(likely_spread(np.array(ratios)), margins[metric], len(tested))
            needs.append((MOST + 1 if needed is None else needed, arm, metric))
    if not needs:
        return Choice(otherwise, "in the pilot no compared metric has a figure in two arms")
    most, arm, metric = max(needs, key=lambda need: need[0])
    what = f"{metric} of {arm} against {baseline}"
    if most > MOST:
        return Choice(MOST, f"{what} scatters so much that not even {MOST} blocks would probably decide it", spread)
    return Choice(max(most, FEWEST), f"{what} needs the most blocks to be decided with 80 % power", spread)


def _trouble(trials: Mapping[str, Sequence[TrialFacts]], blocks: int) -> str | None:
    """What keeps the pilot from being what the run will be like, or None."""
    for name, found in trials.items():
        usable = sum(trial.usable for trial in found)
        if usable < blocks:
            return f"{name} has {usable} usable trials of {blocks}"
    outcomes = {name: outcomes_of(found) for name, found in trials.items()}
    baseline = baseline_of(list(trials), outcomes)
    pairs = (obstacle_between(baseline, name, trials, outcomes) for name in trials if name != baseline)
    return next((obstacle for obstacle in pairs if obstacle), None)


def _log_ratios(baseline: Sequence[TrialFacts], arm: Sequence[TrialFacts], metric: str) -> list[float]:
    """Of the blocks in which both have the figure, above 0."""
    base, own = ({trial.block: trial.figures().get(metric) or 0.0 for trial in trials} for trials in (baseline, arm))
    return [math.log(own[block] / base[block]) for block in base if base[block] > 0 and own.get(block, 0.0) > 0]
