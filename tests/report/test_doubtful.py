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
        (
            "a",
            "2 of 12 trials disturbed by the machine (noisy)",
            "trial 3: it was noisy; the others are in tables/trials.csv",
        ),
        ("a", "of 12 trials, 2 warming, 1 unstable", ""),
    ]


def test_an_open_loop_that_was_not_kept_up_with_is_told() -> None:
    arm = {"trials": 12, "load": {"rate_hz": 300.0}, "planned": 3312, "ok": 3312, "throughput_hz": 136.2}
    ((name, what, _),) = told({"a": arm})
    assert (name, what[:67]) == ("a", "overloaded, it did 136 of the 300 operations a second that were due")
    assert list(told({"a": {**arm, "throughput_hz": 290.0}})) == []
    assert list(told({"a": {**arm, "ok": 3000}})) == []  # failures explain it
    assert list(told({"a": {**arm, "planned": 20, "ok": 20}})) == []  # random arrivals do
