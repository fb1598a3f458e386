"""Whether a run may be believed (DESIGN 5.3).

The generator of an open loop is late in an arm when the 99th percentile of its own lateness (latency.py) exceeds 10 %
of the arm's median service time; fewer operations than a p99 takes show nothing. If a null arm of the same shape is as
late by the same measure, the lab itself is too slow and the run is invalid. Otherwise the workload may be to blame, for
it keeps the processors busy. A verdict on a quantile of the response then asks for more: the generator's own lateness
at that quantile must not exceed 10 % of the response there. Service, which is counted from the real start, carries a
verdict in any case.

A generator of handshakes does half of each handshake itself. Where it took more than 90 % of a processor, what clients
waited for may have been their own generator, so nothing that they saw carries a verdict. Nor does a cold start that is
counted otherwise in one arm than in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from lab.analysis.arms import ArmInfo
from lab.analysis.facts import TrialFacts
from lab.analysis.latency import Latency
from lab.analysis.quantiles import FLOORS, QUANTILES

LATE_SHARE: Final = 0.10
BUSY_SHARE: Final = 0.90
REAL: Final = ("httpd", "nginx", "stunnel")
"""Servers whose set-up the lab does not see, but for the calls of their library."""
_COUNTED_FROM_INTENDED: Final = frozenset({"response_ms", "lag_ms"})
_SEEN_BY_CLIENTS: Final = frozenset({"response_ms", "service_ms", "lag_ms", "throughput_hz", "where_ms"})


def invalid_because(
    arms: Sequence[ArmInfo],
    trials: Mapping[str, Sequence[TrialFacts]],
    latencies: Mapping[str, Latency],
    partial: bool = False,
) -> list[str]:
    """Every reason, in words; none means valid. A worker that crashed or hung is none: that is what was measured.

    partial: the run was interrupted (a partial trial says so too), so an arm without a trial is no fault of the lab.
    """
    reasons = []
    partial = partial or any(trial.partial for own in trials.values() for trial in own)
    for arm in arms:
        if not trials.get(arm.name) and not partial:
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


def doubt(
    metric: str, baseline: str, arm: str, latencies: Mapping[str, Latency], shares: Mapping[str, float | None]
) -> str | None:
    """Why no verdict on this metric would hold: in one of the two arms the generator was late, or had no time to spare.

    shares: of the processor time that its busiest generator could have had, by arm; None where there is none.
    """
    return _late_in(metric, baseline, arm, latencies) or _busy_in(metric, baseline, arm, shares)


def unlike(metric: str, baseline: ArmInfo, arm: ArmInfo) -> str | None:
    """Why the figures of two arms do not measure the same thing, or None.

    The cold start of a real server is that of its library's calls; the lab's own has its set-up and a handshake in it.
    """
    servers = [one.server for one in (baseline, arm)]
    if metric.partition(".")[0] != "cold_ms" or servers[0] == servers[1] or not set(servers) & set(REAL):
        return None
    return (
        f"the server of {baseline.name} is {servers[0]} and that of {arm.name} {servers[1]}: the cold start of a real"
        " server is told from its calls, without a handshake"
    )


def generator_share(trials: Sequence[TrialFacts]) -> float | None:
    """The median over usable trials of the busiest generator's share of one processor."""
    busiest = [max(t.processes.generator_cpu_shares) for t in trials if t.usable and t.processes.generator_cpu_shares]
    return median(busiest) if busiest else None


def _busy_in(metric: str, baseline: str, arm: str, shares: Mapping[str, float | None]) -> str | None:
    """A client that waits for its own generator measures the generator."""
    if metric.partition(".")[0] not in _SEEN_BY_CLIENTS:
        return None
    for name in (baseline, arm):
        share = shares.get(name)
        if share is not None and share > BUSY_SHARE:
            return f"the generator was busy {100 * share:.0f} % of the time in {name}, so it measured itself"
    return None


def _late_in(metric: str, baseline: str, arm: str, latencies: Mapping[str, Latency]) -> str | None:
    family, _, quantile = metric.partition(".")
    if family not in _COUNTED_FROM_INTENDED or quantile not in QUANTILES:
        return None
    for name in (baseline, arm):
        if latencies[name].generator_lag.total < FLOORS[quantile]:
            continue
        late = latencies[name].generator_lag.quantile_ns(QUANTILES[quantile])
        response = latencies[name].response.quantile_ns(QUANTILES[quantile])
        if late is not None and response is not None and late > LATE_SHARE * response:
            return (
                f"the generator was late in {name}: {_ms(late)} ms at {quantile},"
                f" over {100 * LATE_SHARE:.0f} % of its response of {_ms(response)} ms there"
            )
    return None


def _ms(duration_ns: float) -> str:
    """Milliseconds as people read them: three digits, and no exponent where there are thousands."""
    ms = duration_ns / 1e6
    return f"{ms:.3g}" if ms < 999.5 else f"{ms:,.0f}"


def _late(generator: Latency, server: Latency) -> bool:
    if generator.generator_lag.total < FLOORS["p99"]:
        return False
    late = generator.generator_lag.quantile_ns(0.99)
    service = server.service.quantile_ns(0.5)
    return late is not None and service is not None and late > LATE_SHARE * service
