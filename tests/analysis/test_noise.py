"""Trials that something else disturbed: by themselves, and by how far they stand out in their arm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.analysis.noise import Noise, disturbed, of_trial
from lab.record.model import NoiseRecord
from tests.trial_builder import generator, record, worker

QUIET = Noise(0.2, 1.0, 0.0, 0.1, 0.3, 20.0)


def judge(*changes: dict[str, float | None]) -> dict[int, str]:
    """Five quiet trials, and those that differ from them by so much."""
    every = [*[QUIET] * 5, *(replace(QUIET, **change) for change in changes)]
    return disturbed(list(enumerate(every, start=1)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steal_share": 0.032}, "3.2 % of the processors' time was stolen"),
        (
            {"late_p99_ms": 2.5, "idle_share": 0.4},
            "sleeps of 1 ms ended 2.5 ms late at p99, with processors idle 40 % of the time",
        ),
        ({"late_p99_ms": 7.4}, "sleeps of 1 ms ended 7.4 ms late at p99, in its arm usually 0.2 ms"),
        (
            {"pressure_share": 0.88},
            "tasks waited for a processor 88 % of the time, in its arm usually 30 %",
        ),
        ({"involuntary_hz": 90.0}, "workers were interrupted 90 times a second, in its arm usually 20"),
    ],
)
def test_a_disturbed_trial_is_flagged_with_its_reason(changes: dict[str, float | None], reason: str) -> None:
    assert judge(changes) == {6: reason}


@pytest.mark.parametrize(
    "changes",
    [
        {"steal_share": 0.011},
        {"late_p99_ms": 1.1, "idle_share": 0.25},
        {"late_p99_ms": 1.1, "idle_share": 0.24},
        {"pressure_share": 0.56},
        {"involuntary_hz": 61.0},
    ],
)
def test_just_over_a_threshold_is_flagged(changes: dict[str, float | None]) -> None:
    assert list(judge(changes)) == [6]


def test_what_stands_out_little_from_its_arm_is_not_flagged() -> None:
    """Sleeps that usually end 0.5 ms late: 1.4 ms is no three times that. And 49 interruptions a second are few."""
    usual = replace(QUIET, late_p99_ms=0.5, involuntary_hz=15.0)
    late = replace(usual, late_p99_ms=1.4)
    often = replace(usual, involuntary_hz=49.0)
    assert disturbed(list(enumerate([*[usual] * 5, late, often]))) == {}
    assert list(disturbed(list(enumerate([*[usual] * 5, replace(late, late_p99_ms=1.6)])))) == [5]
    assert list(disturbed(list(enumerate([*[usual] * 5, replace(late, idle_share=0.25)])))) == [5]
    assert disturbed(list(enumerate([*[usual] * 5, replace(late, idle_share=0.24)]))) == {}
    assert list(disturbed(list(enumerate([*[usual] * 5, replace(often, involuntary_hz=51.0)])))) == [5]


@pytest.mark.parametrize(
    "changes",
    [
        {"steal_share": 0.01},
        {"late_p99_ms": 0.9},  # late, as sleeps are, and less than the sleep itself
        {"pressure_share": 0.5},
        {"involuntary_hz": 45.0},
        {"steal_share": None, "late_p99_ms": None, "pressure_share": None, "involuntary_hz": None},
    ],
)
def test_what_is_small_or_unknown_flags_nothing(changes: dict[str, float | None]) -> None:
    assert judge(changes) == {}


def test_a_load_that_keeps_every_trial_of_its_arm_busy_is_no_disturbance() -> None:
    busy = replace(QUIET, late_p99_ms=6.0, idle_share=0.0, pressure_share=0.95, involuntary_hz=400.0)
    assert disturbed([(number, busy) for number in range(12)]) == {}


def test_two_trials_do_not_make_anything_usual() -> None:
    assert disturbed([(1, QUIET), (2, replace(QUIET, late_p99_ms=9.0))]) == {}


def test_several_reasons_are_all_told() -> None:
    (reasons,) = judge({"steal_share": 0.5, "pressure_share": 0.9}).values()
    assert reasons.count(";") == 1


def test_the_interruptions_are_those_of_a_worker_in_a_second_of_load() -> None:
    noise = NoiseRecord(1000, 70_000, 500_000, 2_000_000, 0.0, 0.5, None)
    processes = (
        worker(1, 1, involuntary=30),
        worker(2, 1, involuntary=10),
        worker(3, 1),
        generator(4, 1, involuntary=999),
    )
    trial = replace(record(*processes), warmup_ns=500_000_000, duration_ns=1_500_000_000, noise=noise)
    assert of_trial(trial) == Noise(0.5, 2.0, 0.0, 0.5, None, 10.0)


def test_a_trial_without_a_sentinel_tells_nothing() -> None:
    assert of_trial(record(worker(1, 1))) is None
    assert disturbed([(1, None)]) == {}
