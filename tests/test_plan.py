"""Order and arrival times follow from the seed, and have the distributions that they are said to have."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lab.plan import PILOT_BLOCKS, Plan, arrivals, make, pilot_of
from lab.scenario import Arm, Scenario, parse

SEED = 42688


def scenario(text: str = "", *overrides: str) -> Scenario:
    return parse(text, "x.toml", (f"seed={SEED}", *overrides))


def arm(*overrides: str) -> Arm:
    (only,) = scenario("", *overrides).arms
    return only


def whole(parts: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    merged: NDArray[np.int64] = np.sort(np.concatenate(parts))
    return merged


THREE = '[[arm]]\nname = "a"\n[[arm]]\nname = "b"\n[[arm]]\nname = "c"'
POISSON = ("load.rate_hz=2000", "load.warmup_s=1", "load.duration_s=4")


def test_every_block_has_one_trial_of_every_arm_and_numbers_count_from_1() -> None:
    plan = make(scenario(THREE, "blocks=7"))

    assert [trial.number for trial in plan.trials] == list(range(1, 22))
    for block, trials in itertools.groupby(plan.trials, key=lambda trial: trial.block):
        assert 1 <= block <= 7
        assert sorted(trial.arm for trial in trials) == ["a", "b", "c"]


def test_a_plan_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert make(scenario(THREE)) == make(scenario(THREE))
    assert make(scenario(THREE)) != make(scenario(THREE, "seed=1"))


def test_a_plan_stays_the_same_between_versions() -> None:
    order = "".join(trial.arm for trial in make(scenario(THREE, "blocks=4")).trials)

    assert order == "cabcabbacabc"


def test_more_blocks_continue_a_plan_and_do_not_change_its_start() -> None:
    few, many = make(scenario(THREE, "blocks=6")), make(scenario(THREE, "blocks=12"))

    assert many.trials[: len(few.trials)] == few.trials


def test_a_pilot_has_few_blocks_of_the_same_arms_and_shares_no_seed_and_no_arrivals_with_the_run() -> None:
    auto = scenario(THREE, "blocks=auto", *POISSON)
    pilot = pilot_of(auto)
    plan, measured = make(pilot), make(auto, 12)

    assert (plan.blocks, pilot.arms) == (PILOT_BLOCKS, auto.arms)
    assert not {trial.seed for trial in plan.trials} & {trial.seed for trial in measured.trials}
    ours, theirs = (whole(arrivals(auto.arms[0], seed, 1)) for seed in (auto.seed, pilot.seed))
    assert not set(ours.tolist()) & set(theirs.tolist())


def test_a_pilot_changes_nothing_of_the_measured_trials_but_their_number() -> None:
    chosen = make(scenario(THREE, "blocks=auto"), 14, {"blocks": 4})

    assert chosen.trials == make(scenario(THREE, "blocks=14")).trials
    assert Plan.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
    with pytest.raises(ValueError, match="not chosen"):
        make(scenario(THREE, "blocks=auto"))


def test_every_trial_has_a_seed_of_its_own() -> None:
    seeds = {trial.seed for trial in make(scenario(THREE, "blocks=200")).trials}

    assert len(seeds) == 600
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_order_of_arms_is_random_and_all_orders_are_equally_frequent() -> None:
    trials = make(scenario(THREE, "blocks=1000")).trials
    orders = Counter("".join(trial.arm for trial in trials[start : start + 3]) for start in range(0, 3000, 3))

    assert len(orders) == 6
    assert stats.chisquare(list(orders.values())).pvalue > 0.01


def test_a_plan_round_trips_through_json() -> None:
    plan = make(scenario(THREE))

    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_there_is_one_sorted_array_for_each_worker_thread_within_the_load() -> None:
    worker = arm("topology.kind=worker", "topology.processes=3", "topology.threads=5", *POISSON)
    parts = arrivals(worker, SEED, 1)

    assert len(parts) == 15
    for part in parts:
        assert part.dtype == np.int64
        assert np.all(np.diff(part) >= 0)
        assert part.min() >= 0
        assert part.max() < 5_000_000_000


def test_poisson_arrivals_have_a_poisson_number() -> None:
    short = arm("load.rate_hz=100", "load.warmup_s=0", "load.duration_s=1")
    counts = np.array([len(whole(arrivals(short, SEED, block))) for block in range(1, 401)])

    # the index of dispersion of a Poisson sample is chi-square distributed (Fisher)
    dispersion = ((counts - counts.mean()) ** 2).sum() / counts.mean()
    assert 0.01 < stats.chi2.cdf(dispersion, len(counts) - 1) < 0.99
    assert abs(counts.mean() - 100) < 3 * (100 / 400) ** 0.5


def test_poisson_arrivals_are_uniform_in_time_and_their_gaps_exponential() -> None:
    due = whole(arrivals(arm(*POISSON), SEED, 1)) / 1e9

    assert stats.kstest(due, stats.uniform(0, 5).cdf).pvalue > 0.01
    assert stats.kstest(np.diff(due), stats.expon(scale=1 / 2000).cdf).pvalue > 0.01


def test_each_thread_of_a_poisson_arm_has_poisson_arrivals_of_its_share() -> None:
    parts = arrivals(arm(*POISSON), SEED, 1)

    assert stats.chisquare([len(part) for part in parts]).pvalue > 0.01
    for part in parts:
        assert stats.kstest(np.diff(part) / 1e9, stats.expon(scale=4 / 2000).cdf).pvalue > 0.01


def test_paced_arrivals_are_evenly_spaced_and_dealt_in_turn() -> None:
    paced = arm("load.arrivals=paced", "load.rate_hz=1000", "load.warmup_s=0.1", "load.duration_s=0.2")
    parts = arrivals(paced, SEED, 1)

    assert whole(parts).tolist() == [k * 1_000_000 for k in range(300)]
    assert [part[0] for part in parts] == [0, 1_000_000, 2_000_000, 3_000_000]


@pytest.mark.parametrize(("rate", "count"), [("3", 1), ("0.3", 1), ("33.3", 7), ("1000000", 200_000)])
def test_paced_arrivals_are_all_that_begin_within_the_load(rate: str, count: int) -> None:
    paced = arm("load.arrivals=paced", f"load.rate_hz={rate}", "load.warmup_s=0", "load.duration_s=0.2")
    due = whole(arrivals(paced, SEED, 1))

    assert len(due) == count
    assert due[-1] < 200_000_000


def test_a_closed_loop_has_no_arrivals() -> None:
    assert arrivals(arm("load.mode=closed"), SEED, 1) == ()


def test_a_thread_without_arrivals_has_an_empty_array() -> None:
    idle = arm("topology.processes=200", "load.rate_hz=0.001", "load.warmup_s=0", "load.duration_s=0.1")

    assert [len(part) for part in arrivals(idle, SEED, 1)] == [0] * 200


def test_arms_of_one_block_with_one_load_and_number_of_threads_get_the_same_arrivals() -> None:
    prefork = arm("topology.processes=6", *POISSON)
    worker = arm(
        "topology.kind=worker", "topology.processes=2", "topology.threads=3", "context.policy=shared", *POISSON
    )

    for left, right in zip(arrivals(prefork, SEED, 3), arrivals(worker, SEED, 3), strict=True):
        assert np.array_equal(left, right)


HANDSHAKES = ("workload.kind=handshake", *POISSON)


def test_arrivals_of_handshakes_are_dealt_over_generators() -> None:
    parts = arrivals(arm("load.generators=3", "topology.processes=16", *HANDSHAKES), SEED, 1)

    assert len(parts) == 3
    assert stats.chisquare([len(part) for part in parts]).pvalue > 0.01


def test_arms_of_handshakes_of_one_block_get_the_same_arrivals_whatever_their_servers() -> None:
    event = arm("topology.kind=event", "topology.processes=2", "load.generators=2", *HANDSHAKES)
    worker = arm("topology.kind=worker", "tls.bridge=software", "load.generators=2", *HANDSHAKES)
    external = arm("tls.server=external", "tls.host=localhost", "tls.port=443", "load.generators=2", *HANDSHAKES)

    for other in (worker, external):
        for left, right in zip(arrivals(event, SEED, 3), arrivals(other, SEED, 3), strict=True):
            assert np.array_equal(left, right)


def test_the_number_of_generators_changes_who_makes_a_handshake_and_not_when() -> None:
    one, four = arm(*HANDSHAKES), arm("load.generators=4", *HANDSHAKES)

    assert np.array_equal(whole(arrivals(one, SEED, 1)), whole(arrivals(four, SEED, 1)))


def test_blocks_and_seeds_get_arrivals_of_their_own() -> None:
    first = whole(arrivals(arm(*POISSON), SEED, 1))

    assert not np.array_equal(first, whole(arrivals(arm(*POISSON), SEED, 2)))
    assert not np.array_equal(first, whole(arrivals(arm(*POISSON), SEED + 1, 1)))
    assert np.array_equal(first, whole(arrivals(arm(*POISSON), SEED, 1)))
