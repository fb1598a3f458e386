"""Trials that may mislead, in words: those that were disturbed or had not settled, and loads that were not kept up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.report.words import counted, significant

_KEPT_UP: Final = 0.9  # of the rate that was due
_ENOUGH: Final = 400  # operations: random arrivals of fewer are off by more than that by themselves

TITLE: Final = "Trials that may mislead (they are in the figures all the same)"


def told(arms: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(arm, what, evidence) of each arm that has any."""
    for name, arm in arms.items():
        trials = counted(arm["trials"], "trial")
        noisy = arm.get("noisy") or {"trials": 0}
        if noisy["trials"]:
            others = "; the others are in tables/trials.csv" if noisy["trials"] > 1 else ""
            yield name, f"{noisy['trials']} of {trials} disturbed by the machine (noisy)", noisy["because"][0] + others
        labels = arm.get("warmup") or {}
        unsettled = [f"{labels[label]} {label}" for label in ("warming", "slowing", "unstable") if labels.get(label)]
        if unsettled:
            yield name, f"of {trials}, {', '.join(unsettled)}", ""
    yield from overloaded(arms)


def overloaded(arms: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(arm, what, "") of each arm whose open loop asked for more than was done."""
    for name, arm in arms.items():
        if rate_hz := _not_kept_up(arm):
            due = f"{significant(arm['throughput_hz'])} of the {significant(rate_hz)} operations a second that were due"
            yield name, f"overloaded, it did {due}, so that times grow with the length of its trials", ""


def _not_kept_up(arm: Mapping[str, Any]) -> float | None:
    """The rate of an open loop that an arm without failures fell behind; None of one that did not."""
    rate_hz, done_hz = (arm.get("load") or {}).get("rate_hz"), arm.get("throughput_hz")
    if not rate_hz or done_hz is None or arm["ok"] < max(arm["planned"], _ENOUGH):
        return None
    return float(rate_hz) if done_hz < _KEPT_UP * rate_hz else None
