"""An arm of summary.json with types. What a summary of an earlier version does not have is None, or empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Quantiles:
    """ms; None where there were too few operations for it."""

    p50: float | None
    p90: float | None
    p99: float | None
    p99_9: float | None
    max: float | None

    @staticmethod
    def of(found: Mapping[str, Any] | None) -> Quantiles:
        known = found or {}
        return Quantiles(*(known.get(name) for name in ("p50", "p90", "p99", "p99.9", "max")))


@dataclass(frozen=True)
class Failure:
    """One kind of failure: how often, in how many processes, how many of these in the set-up, from which functions."""

    layer: str
    code: str
    count: int
    processes: int
    setup: int
    functions: Mapping[str, int]
    side: str | None


@dataclass(frozen=True)
class Rule:
    """What became of one rule: conforms, violates, undefined or not-exercised; evidence: the first case, in words."""

    verdict: str
    count: int
    processes: int
    evidence: str


@dataclass(frozen=True)
class ArmSummary:
    """One arm of a run, all its trials together. `raw` has all that summary.json says of it.

    Counts are over all trials; times and rates over the usable ones.
    """

    name: str
    token: str | None
    topology: str | None
    processes: int
    threads: int
    context: str | None
    workload: str
    rate_hz: float | None  # None in a closed loop
    trials: int
    planned: int
    ok: int
    fail: int
    info: int
    shed: int
    wrong: int
    throughput_hz: float | None
    response_ms: Quantiles
    service_ms: Quantiles
    lag_ms: Quantiles
    cold_ms: Mapping[str, float | None]
    pss_mib: float | None
    crashed: int
    hung: int
    sessions_opened: int
    sessions_leaked: int
    sessions_peak_process: int
    sessions_peak: int
    failures: tuple[Failure, ...]
    rules: Mapping[str, Rule]
    ci: Mapping[str, tuple[float, float]]  # 95 % intervals, by name ("response_ms.p99"), of those that have one
    raw: Mapping[str, Any]

    @staticmethod
    def from_json(name: str, arm: Mapping[str, Any]) -> ArmSummary:
        """Raises KeyError or TypeError where the data are not an arm's of a summary."""
        topology, sessions, processes = arm["topology"], arm["sessions"], arm["processes"]
        return ArmSummary(
            name=name,
            token=arm["token"],
            topology=topology["kind"],
            processes=topology["processes"],
            threads=topology["threads"],
            context=arm["context"],
            workload=arm["workload"]["kind"],
            rate_hz=(arm.get("load") or {}).get("rate_hz"),
            trials=arm["trials"],
            planned=arm["planned"],
            ok=arm["ok"],
            fail=arm["fail"],
            info=arm["info"],
            shed=arm["shed"],
            wrong=arm["wrong"],
            throughput_hz=arm["throughput_hz"],
            response_ms=Quantiles.of(arm["response_ms"]),
            service_ms=Quantiles.of(arm["service_ms"]),
            lag_ms=Quantiles.of(arm["lag_ms"]),
            cold_ms=dict(arm["cold_ms"]),
            pss_mib=processes["pss_mib_p50"],
            crashed=processes["crashed"],
            hung=processes["hung"],
            sessions_opened=sessions["opened"],
            sessions_leaked=sessions["leaked"],
            sessions_peak_process=sessions["peak_per_process"],
            sessions_peak=sessions["peak_total"],
            failures=tuple(_failure(failure) for failure in arm["failures"]),
            rules={rule: _rule(found) for rule, found in arm["rules"].items()},
            ci=dict(_intervals(arm.get("ci") or {})),
            raw=arm,
        )


def _intervals(found: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float, float]]]:
    for name, within in found.items():
        parts = within.items() if isinstance(within, Mapping) else [("", within)]
        yield from ((f"{name}.{part}".rstrip("."), (ends[0], ends[1])) for part, ends in parts if ends)


def _failure(found: Mapping[str, Any]) -> Failure:
    return Failure(
        layer=found["layer"],
        code=found["code"],
        count=found["count"],
        processes=found["processes"],
        setup=found.get("setup", 0),
        functions=found.get("functions") or {},
        side=found.get("side"),
    )


def _rule(found: Mapping[str, Any]) -> Rule:
    return Rule(found["verdict"], found["count"], found.get("processes", 0), found.get("evidence") or "")
