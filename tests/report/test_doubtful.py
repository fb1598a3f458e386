"""Trials that may mislead, as a reader is told of them."""

from __future__ import annotations

from lab.report.doubtful import told

FLAT = {"flat": 12, "warming": 0, "slowing": 0, "unstable": 0}


def test_arms_whose_trials_are_flat_and_undisturbed_are_not_mentioned() -> None:
    assert list(told({"a": {"trials": 12, "noisy": {"trials": 0, "because": []}, "warmup": FLAT}})) == []
    assert list(told({"a": {"trials": 12}})) == []  # of an earlier version


def test_noisy_and_unsettled_trials_are_counted_and_one_reason_is_told() -> None:
    noisy = {"trials": 2, "because": ["trial 3: it was noisy", "trial 4: so it was"]}
    arm = {"trials": 12, "noisy": noisy, "warmup": FLAT | {"warming": 2, "unstable": 1}}
    assert list(told({"a": arm})) == [
        ("a", "2 of 12 trials noisy", "trial 3: it was noisy; the others are in tables/trials.csv"),
        ("a", "of 12 trials, 2 warming, 1 unstable", ""),
    ]
