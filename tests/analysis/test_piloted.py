"""How many blocks a pilot asks for: by how much its blocks scatter, and by nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lab.analysis import signflip
from lab.analysis.arms import ArmInfo, arms_of
from lab.analysis.comparisons import verdict_of
from lab.analysis.deciding import blocks_for, least_blocks
from lab.analysis.facts import TrialFacts
from lab.analysis.piloted import FEWEST, MOST, Choice, choose
from lab.scenario import parse
from tests.trial_builder import record, steady, worker

P50 = {"service_ms.p50": 0.05}
FLAT = (1.0, 1.0, 1.0, 1.0)
UNEVEN = (0.98, 1.01, 1.03, 0.99)


def trials(durations: Sequence[float], arm: str) -> list[TrialFacts]:
    return [
        steady(record(worker(1, 30), arm=arm, block=block, number=block), 30, lasts)
        for block, lasts in enumerate(durations, start=1)
    ]


def arms(*names: str) -> tuple[ArmInfo, ...]:
    written = "\n".join(f'[[arm]]\nname = "{name}"' for name in names)
    return arms_of(parse(written, "x.toml").to_json())


def chosen(margins: dict[str, float] | None = None, **durations: Sequence[float]) -> Choice:
    facts = [trial for name, each in durations.items() for trial in trials(each, name)]
    return choose(arms(*durations), facts, margins or P50, blocks=4, otherwise=12)


@pytest.mark.parametrize("effect", [0.0, 2.0, -2.0], ids=["alike", "slower", "faster"])
def test_so_many_blocks_decide_as_often_as_promised(effect: float) -> None:
    """Where the arms are alike, and where they differ by twice the margin."""
    margin, spread = 0.05, 0.04
    blocks = blocks_for(spread, margin)
    assert blocks is not None
    assert FEWEST < blocks <= signflip.EXACT_BLOCKS
    random = np.random.default_rng(6)
    decided = 0
    for _ in range(300):
        drawn = random.normal(effect * math.log1p(margin), spread, blocks)
        low, high = signflip.interval(drawn) or (math.nan, math.nan)
        decided += verdict_of((math.exp(low), math.exp(high)), margin, False) != "inconclusive"
    assert decided >= stats.binom.ppf(0.0005, 300, 0.78)


def test_more_spread_a_narrower_margin_and_more_metrics_take_more_blocks() -> None:
    plain = blocks_for(0.05, 0.05)
    assert plain is not None
    for more in (blocks_for(0.1, 0.05), blocks_for(0.05, 0.02), blocks_for(0.05, 0.05, metrics=40)):
        assert more is not None
        assert more > plain
    assert blocks_for(5.0, 0.05) is None
    assert blocks_for(0.0, 0.05, metrics=4) == least_blocks(4)


@pytest.mark.parametrize("ratio", [0.5, 1.02, 1.5])
def test_how_far_the_arms_are_apart_in_the_pilot_changes_nothing(ratio: float) -> None:
    alike = chosen(a=FLAT, b=UNEVEN)
    apart = chosen(a=FLAT, b=[ratio * lasts for lasts in UNEVEN])

    assert FEWEST < alike.blocks < MOST
    assert apart.blocks == alike.blocks


def test_the_spread_is_told_as_seen_and_reckoned_with_at_its_upper_limit() -> None:
    choice = chosen(a=FLAT, b=UNEVEN)
    seen = float(np.std(np.log(UNEVEN), ddof=1))
    limit = seen * math.sqrt(3 / stats.chi2.ppf(0.2, 3))

    assert choice.to_json()["spread"] == {"b": {"service_ms.p50": pytest.approx(seen, rel=1e-3)}}
    assert choice.blocks == blocks_for(limit, 0.05)


def test_what_drifts_in_both_arms_of_a_block_is_no_spread() -> None:
    assert chosen(a=(1, 2, 3, 4), b=(2, 4, 6, 8)).blocks == FEWEST


def test_the_comparison_that_needs_most_decides_and_is_named() -> None:
    choice = chosen(a=FLAT, b=FLAT, c=UNEVEN)

    assert choice.blocks == chosen(a=FLAT, c=UNEVEN).blocks
    assert choice.because.startswith("service_ms.p50 of c against a ")


def test_a_metric_that_gets_no_verdict_costs_the_others_what_it_will_cost_them_in_the_run() -> None:
    """Two servers' cold starts are not compared, but tested, and Holm's correction counts them."""
    facts = [
        replace(trial, cold={1: {"total": 1.0}}) for name in ("a", "b") for trial in trials((1.0, 1.0, 1.0, 1.0), name)
    ]
    ours, theirs = (replace(arm, server=server) for arm, server in zip(arms("a", "b"), ("lab", "httpd"), strict=True))
    margins = P50 | {"cold_ms.total": 0.1}
    assert choose((ours, theirs), facts, margins, blocks=4, otherwise=12).blocks == least_blocks(2)


def test_a_pilot_that_scatters_wildly_gets_no_more_than_the_most() -> None:
    choice = chosen(a=FLAT, b=(1, 3, 0.4, 2))

    assert choice.blocks == MOST
    assert f"not even {MOST} blocks" in choice.because


def test_an_arm_that_fails_in_the_pilot_leaves_the_default_and_is_named() -> None:
    failing = [
        replace(trial, outcomes=replace(trial.outcomes, ok=10, fail=trial.outcomes.planned - 10))
        for trial in trials(FLAT, "b")
    ]
    choice = choose(arms("a", "b"), [*trials(FLAT, "a"), *failing], P50, blocks=4, otherwise=12)

    assert choice.blocks == 12
    assert choice.because.startswith("in the pilot failure rates differ: a 0 %, b ")
    assert (choice.to_json()["chosen"], choice.to_json()["spread"]) == (False, {})


@pytest.mark.parametrize("broken", [{"invalid_because": ("rows are missing",)}, {"partial": True}])
def test_a_trial_that_is_not_usable_leaves_the_default(broken: dict[str, object]) -> None:
    first, *rest = trials(FLAT, "b")
    facts = [*trials(FLAT, "a"), replace(first, **broken), *rest]  # type: ignore[arg-type]

    choice = choose(arms("a", "b"), facts, P50, blocks=4, otherwise=12)
    assert (choice.blocks, choice.because) == (12, "in the pilot b has 3 usable trials of 4")


def test_a_metric_without_a_figure_leaves_the_default() -> None:
    choice = chosen({"service_ms.p99": 0.1}, a=FLAT, b=FLAT)  # 30 operations have no p99

    assert choice.blocks == 12
    assert "no compared metric" in choice.because
