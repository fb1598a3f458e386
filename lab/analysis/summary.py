"""All trials' facts to summary.json (DESIGN 6.3): one dict of plain values, missing ones None.

Counts (planned to shed, sessions opened to leaked, failures, processes) are over all trials of an arm. Durations and
rates are over its usable trials: those that are valid and were not interrupted. Quantiles are of all their operations
together, never averages of quantiles; comparisons use each trial's own figures instead. Peaks of sessions are the
highest of any trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from lab.analysis import (
    at_token,
    cold,
    diagnosis,
    failures,
    handshake_summary,
    intervals,
    latency,
    noise,
    nonces,
    real_server_summary,
    validity,
    warmup,
)
from lab.analysis import traced_summary as traced
from lab.analysis.arms import TRACE, ArmInfo, compared
from lab.analysis.comparisons import compare
from lab.analysis.facts import TrialFacts
from lab.analysis.latency import Latency
from lab.analysis.outcomes import Outcomes
from lab.analysis.quantiles import in_ms, merged
from lab.analysis.rules import RULES
from lab.analysis.rules.finding import judged

SCHEMA: Final = 1


def summarise(
    run: str,
    scenario: str,
    question: str,
    seed: int,
    arms: Sequence[ArmInfo],
    margins: Mapping[str, float],
    facts: Iterable[TrialFacts],
    partial: bool = False,
    faults: Sequence[str] = (),
    skipped: Mapping[str, str] | None = None,
    chosen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The summary of a run.

    arms: in the scenario's order, the first is the baseline. facts: of all trials that there are. partial: trials of
    the plan are missing. faults: what else makes the run invalid. skipped: arms that did not run here, and why.
    chosen: how a pilot chose the number of blocks.
    """
    by_arm: dict[str, list[TrialFacts]] = {arm.name: [] for arm in arms}
    strangers = []
    for trial in sorted(facts, key=lambda trial: trial.number):
        if trial.arm in by_arm:
            by_arm[trial.arm].append(trial)
        else:
            strangers.append(f"trial {trial.number}: the scenario has no arm {trial.arm}")
    latencies = {
        name: latency.together([trial.latency for trial in trials if trial.usable]) for name, trials in by_arm.items()
    }
    shares = {name: validity.generator_share(trials) for name, trials in by_arm.items()}
    reasons = [*faults, *strangers, *validity.invalid_because(arms, by_arm, latencies, partial)]
    known = {arm.name: arm for arm in arms}
    comparisons = compare(
        compared(arms),
        by_arm,
        margins,
        seed,
        lambda metric, baseline, arm: (
            validity.unlike(metric, known[baseline], known[arm])
            or validity.doubt(metric, baseline, arm, latencies, shares)
        ),
    )
    return {
        "schema": SCHEMA,
        "run": run,
        "scenario": scenario,
        "question": question,
        "seed": seed,
        "valid": not reasons,
        "invalid_because": reasons,
        "partial": partial or any(trial.partial for trials in by_arm.values() for trial in trials),
        "skipped": dict(skipped or {}),
        **({"blocks_chosen": dict(chosen)} if chosen else {}),
        "arms": {arm.name: _arm(arm, by_arm[arm.name], latencies[arm.name], seed) for arm in arms},
        "comparisons": [comparison.to_json() for comparison in comparisons],
    }


def _arm(arm: ArmInfo, trials: Sequence[TrialFacts], delays: Latency, seed: int) -> dict[str, Any]:
    outcomes = sum((trial.outcomes for trial in trials), Outcomes())
    usable = [trial for trial in trials if trial.usable]
    late = validity.lateness_ms(delays)
    if outcomes.wrong:
        delays = Latency()  # an arm that signs wrongly has no latency
    real_server = real_server_summary.to_json(arm, trials)
    where_ms = None if outcomes.wrong else handshake_summary.where_ms(usable)
    return {
        "token": arm.token,
        "over": arm.over,
        "reset_on_fork": arm.reset_on_fork,
        "topology": {"kind": arm.topology, "processes": arm.processes, "threads": arm.threads},
        "context": real_server["policy"] if real_server else arm.context,
        "session": arm.session,
        "locking": arm.locking,
        "bridge": arm.bridge,
        "server": arm.server,
        "workload": {"kind": arm.workload, "mechanism": arm.mechanism, "key": arm.key, "driver": arm.driver},
        "load": {"mode": "open" if arm.open_loop else "closed", "rate_hz": arm.rate_hz, "clients": arm.clients},
        "tls": _tls(arm),
        "fork_point": arm.fork_point,
        "start": arm.start,
        "inherit": arm.inherit,
        "trials": len(trials),
        "planned": outcomes.planned,
        "ok": outcomes.ok,
        "fail": outcomes.fail,
        "info": outcomes.info,
        "shed": outcomes.shed,
        "verified": outcomes.verified,
        "wrong": outcomes.wrong,
        "throughput_hz": _throughput(usable),
        "response_ms": in_ms(delays.response),
        "service_ms": in_ms(delays.service),
        "lag_ms": in_ms(delays.lag),
        "ci": intervals.of_arm(usable, delays, seed),
        "warmup": _warmup(usable),
        "noisy": _noisy(trials),
        "generator_lag_ms": {"p99": late[0] if late and arm.open_loop else None},
        "pkcs11_ms": _functions(usable),
        "cold_ms": cold.medians_ms(worker for trial in usable for worker in trial.cold.values()),
        "sessions": _sessions(trials),
        "at_token": at_token.to_json(
            [trial.at_token for trial in trials if trial.at_token],
            [trial.at_token for trial in usable if trial.at_token],
        ),
        "processes": _processes(trials),
        "connections": handshake_summary.connections(trials),
        "where_ms": where_ms,
        "generator": handshake_summary.generator(trials),
        "hosts": handshake_summary.hosts(trials),
        "failures": [
            failures.to_json(failure)
            for failure in failures.together(failure for trial in trials for failure in trial.failures)
        ],
        "real_server": real_server,
        "diagnosis": diagnosis.to_json((trial.number, trial.diagnosis) for trial in trials),
        "nonces": nonces.to_json((trial.number, trial.nonces) for trial in trials),
        "rules": {rule: judged((trial.number, trial.rules[rule]) for trial in trials) for rule in RULES},
        **({"traced": traced.to_json(trials)} if arm.workload == TRACE else {}),
    }


def _tls(arm: ArmInfo) -> dict[str, Any] | None:
    if arm.workload != "handshake":
        return None
    return {
        "version": arm.version,
        "key_exchange": arm.key_exchange,
        "vhosts": arm.vhosts,
        "vhost_by": arm.vhost_by,
        "resumption": arm.resumption,
        "connections_per_child": arm.connections_per_child,
    }


def _warmup(trials: Sequence[TrialFacts]) -> dict[str, int]:
    """How many trials have each label; those with too few operations have none."""
    labels = [warmup.label(trial.course) for trial in trials]
    return {label: labels.count(label) for label in warmup.LABELS}


def _noisy(trials: Sequence[TrialFacts]) -> dict[str, Any]:
    """Trials that something else disturbed, and what did."""
    found = noise.disturbed([(trial.number, trial.noise) for trial in trials])
    return {"trials": len(found), "because": [f"trial {number}: {reason}" for number, reason in found.items()]}


def _throughput(trials: Sequence[TrialFacts]) -> float | None:
    seconds = sum(trial.duration_s for trial in trials)
    return sum(trial.done_in_time for trial in trials) / seconds if seconds > 0 else None


def _functions(trials: Sequence[TrialFacts]) -> dict[str, dict[str, Any]]:
    names = sorted({name for trial in trials for name in trial.calls})
    found = {}
    for name in names:
        durations = merged(trial.calls[name] for trial in trials if name in trial.calls)
        found[name] = {"count": durations.total, **in_ms(durations, ("p50", "p99"), largest=False)}
    return found


def _sessions(trials: Sequence[TrialFacts]) -> dict[str, int]:
    return {
        "opened": sum(trial.sessions.opened for trial in trials),
        "closed": sum(trial.sessions.closed for trial in trials),
        "leaked": sum(trial.sessions.leaked for trial in trials),
        "peak_per_process": max((trial.sessions.peak_per_process for trial in trials), default=0),
        "peak_total": max((trial.sessions.peak_total for trial in trials), default=0),
    }


def _processes(trials: Sequence[TrialFacts]) -> dict[str, Any]:
    pss = [value for trial in trials for value in trial.processes.pss_mib]
    return {
        "started": sum(trial.processes.started for trial in trials),
        "crashed": sum(trial.processes.crashed for trial in trials),
        "hung": sum(trial.processes.hung for trial in trials),
        "pss_mib_p50": median(pss) if pss else None,
    }
