"""Trials made of drawn durations, without rows: for questions that take thousands of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.analysis.facts import ProcessFacts, SessionFacts, TrialFacts
from lab.analysis.latency import Latency
from lab.analysis.outcomes import Outcomes
from lab.analysis.quantiles import distribution


def trial(service_ms: NDArray[np.float64], *, block: int = 1, arm: str = "a", **fields: Any) -> TrialFacts:
    """One whose operations took these times, all of them well."""
    count = service_ms.size
    facts: dict[str, Any] = {
        "number": block,
        "block": block,
        "arm": arm,
        "partial": False,
        "invalid_because": (),
        "outcomes": Outcomes(planned=count, ok=count, verified=count, measured_ok=count),
        "duration_s": 1.0,
        "done_in_time": count,
        "latency": Latency(service=distribution(np.rint(service_ms * 1e6).astype(np.int64))),
        "calls": {},
        "cold": {},
        "sessions": SessionFacts(0, 0, 0, 0, 0, {}),
        "processes": ProcessFacts(started=1, crashed=0, hung=0, pss_mib=(), workers=1),
        "failures": (),
        "failures_by_process": (),
        "rules": {},
    }
    return TrialFacts(**(facts | fields))


def trials(service_ms: Sequence[NDArray[np.float64]], arm: str = "a") -> list[TrialFacts]:
    """One for each array, in blocks from 1."""
    return [trial(durations, block=block, arm=arm) for block, durations in enumerate(service_ms, start=1)]


def lognormal_ms(
    random: np.random.Generator, blocks: int, operations: int, between: float = 0.05, drift: float = 0.3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two arms that do not differ, (blocks, operations) each, median 2 ms.

    Blocks drift together, by a log-normal factor of sigma `drift`; each trial has an effect of its own of sigma
    `between`, which is what makes the trial the unit.
    """
    effect = random.normal(0, drift, (1, blocks, 1)) + random.normal(0, between, (2, blocks, 1))
    base, arm = 2 * np.exp(effect + random.normal(0, 0.5, (2, blocks, operations)))
    return base, arm
