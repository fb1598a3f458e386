"""What summary.json says of the handshakes of an arm, over its trials; None of an arm that has none.

Counts are over all trials, times over usable ones, as in summary.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from lab.analysis.facts import TrialFacts
from lab.analysis.handshakes import HandshakeFacts, HostFacts
from lab.analysis.quantiles import in_ms, merged
from lab.analysis.stories import PARTS


def connections(trials: Sequence[TrialFacts]) -> dict[str, Any] | None:
    """Who was accepted and who joined. Where the lab did not start the server, only resumed is known.

    signed: of the handshakes that ended well with a tagged signature (`of`), those whose signing call was found by it,
    and those where it was a call of the process, and thread, of the server's row.
    """
    found = _facts(trials)
    if not found:
        return None
    ours = [one for one in found if one.server]
    well = sum(one.well for one in ours)
    joined = sum(one.joined for one in ours)
    strangers: Counter[tuple[str | None, str]] = Counter()
    for one in ours:
        strangers.update(one.strangers)
    served = [count for one in ours for count in one.handshakes.values()]
    return {
        "accepted": sum(one.accepted for one in ours) if ours else None,
        "joined": joined if ours else None,
        "client_only": sum(one.client_only for one in ours) if ours else None,
        "join_share": joined / well if well else None,
        "resumed": sum(one.resumed for one in found),
        "signed": {
            "found": sum(one.signed for one in ours),
            "of": sum(one.should for one in ours),
            "same_process": sum(one.same_process for one in ours),
        }
        if ours
        else None,
        "strangers": [
            {"layer": layer, "code": code, "count": count}
            for (layer, code), count in sorted(strangers.items(), key=lambda item: (-item[1], item[0][1]))
        ],
        "processes": {
            "handshakes_min": min(served, default=None),
            "handshakes_max": max(served, default=None),
        },
    }


def where_ms(usable: Sequence[TrialFacts]) -> dict[str, dict[str, float | None]] | None:
    """Mean, p50 and p99 of each part; the means add up to the mean of the whole."""
    found = [one for one in _facts(usable) if one.server]
    parts = {part: merged(one.parts[part] for one in found) for part in PARTS}
    if not parts[PARTS[0]].total:
        return None
    return {
        part: {"mean": lasted.mean_ms, **in_ms(lasted, ("p50", "p99"), largest=False)} for part, lasted in parts.items()
    }


def generator(trials: Sequence[TrialFacts]) -> dict[str, Any] | None:
    """Generators of a trial, and the largest share of a processor that one of them took in any."""
    if not _facts(trials):
        return None
    shares = [share for trial in trials for share in trial.processes.generator_cpu_shares]
    return {
        "processes": max(trial.processes.generators for trial in trials),
        "cpu_share": max(shares, default=None),
    }


def hosts(trials: Sequence[TrialFacts]) -> dict[str, Any] | None:
    """What virtual hosts cost a server of the lab: medians over all hosts of all processes that did the step."""
    found = _facts(trials)
    if not found:
        return None
    ours = any(one.server for one in found)
    told = ours and all(trial.server is None for trial in trials)  # a real server does not tell of its contexts
    every = [host for one in found for host in one.hosts]
    timed = [host for one in _facts([trial for trial in trials if trial.usable]) for host in one.hosts]
    return {
        "count": len({host.host for host in every}) if ours else None,
        "tls_contexts": sum(host.tls_contexts for host in every) if told else None,
        "cold_ms": {step: _median(timed, f"{step}_ms") for step in ("find_key", "tls_context", "first_handshake")},
        "sessions_p50": _median([host for host in every if host.handshakes], "sessions"),
    }


def _facts(trials: Sequence[TrialFacts]) -> list[HandshakeFacts]:
    return [trial.handshakes for trial in trials if trial.handshakes is not None]


def _median(hosts: Sequence[HostFacts], name: str) -> float | None:
    values = [value for host in hosts if (value := getattr(host, name)) is not None]
    return median(values) if values else None
