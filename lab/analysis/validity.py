"""Whether a run may be believed (DESIGN 5.3).

The generator of an open loop is late in an arm when the 99th percentile of its own lateness (latency.py) exceeds 10 %
of the arm's median service time. If a null arm of the same shape is as late by the same measure, the lab itself is
too slow and the run is invalid. Otherwise the workload may be to blame, for it keeps the processors busy; then
response and lag of that arm carry no verdict, while service, which is counted from the real start, still may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lab.analysis.arms import ArmInfo
from lab.analysis.latency import Latency
from lab.analysis.trial import TrialFacts

LATE_SHARE: Final = 0.10
_COUNTED_FROM_INTENDED: Final = ("response_ms.", "lag_ms.")


def invalid_because(
    arms: Sequence[ArmInfo], trials: Mapping[str, Sequence[TrialFacts]], latencies: Mapping[str, Latency]
) -> list[str]:
    """Every reason, in words; none means valid. A worker that crashed or hung is none: that is what was measured."""
    reasons = []
    for arm in arms:
        if not trials.get(arm.name):
            reasons.append(f"{arm.name}: no trial")
        for trial in trials.get(arm.name, ()):
            reasons += [f"trial {trial.number} ({arm.name}): {reason}" for reason in trial.invalid_because]
    for arm in arms:
        for floor in arms:
            same = floor.workload == "null" and floor.open_loop and floor.shape == arm.shape and floor is not arm
            if not same or not arm.open_loop or not _late(latencies[arm.name], latencies[arm.name]):
                continue
            if _late(latencies[floor.name], latencies[arm.name]):
                reasons.append(f"{arm.name}: the generator was late, and so it was in the null arm {floor.name}")
    return reasons


def lateness_ms(delays: Latency) -> tuple[float, float] | None:
    """The generator's lateness at p99, and the median service time; None where either is missing."""
    late = delays.generator_lag.quantile_ns(0.99)
    service = delays.service.quantile_ns(0.5)
    return None if late is None or service is None else (late / 1e6, service / 1e6)


def doubt(metric: str, baseline: str, arm: str, latencies: Mapping[str, Latency]) -> str | None:
    """Why no verdict on this metric would hold: the generator was late in one of the two arms."""
    if not metric.startswith(_COUNTED_FROM_INTENDED):
        return None
    for name in (baseline, arm):
        if _late(latencies[name], latencies[name]):
            figures = lateness_ms(latencies[name])
            assert figures is not None  # as _late has just seen
            return (
                f"the generator was late in {name}: {figures[0]:.3g} ms at p99,"
                f" over {100 * LATE_SHARE:.0f} % of its median service time of {figures[1]:.3g} ms"
            )
    return None


def _late(generator: Latency, server: Latency) -> bool:
    late = generator.generator_lag.quantile_ns(0.99)
    service = server.service.quantile_ns(0.5)
    return late is not None and service is not None and late > LATE_SHARE * service
