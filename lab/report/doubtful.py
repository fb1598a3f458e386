"""Trials that may mislead, in words: those that something disturbed, and those that had not settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.report.words import counted

TITLE: Final = "Trials that may mislead (they are in the figures all the same)"


def told(arms: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(arm, what, evidence) of each arm that has any."""
    for name, arm in arms.items():
        trials = counted(arm["trials"], "trial")
        noisy = arm.get("noisy") or {"trials": 0}
        if noisy["trials"]:
            others = "; the others are in tables/trials.csv" if noisy["trials"] > 1 else ""
            yield name, f"{noisy['trials']} of {trials} noisy", noisy["because"][0] + others
        labels = arm.get("warmup") or {}
        unsettled = [f"{labels[label]} {label}" for label in ("warming", "slowing", "unstable") if labels.get(label)]
        if unsettled:
            yield name, f"of {trials}, {', '.join(unsettled)}", ""
