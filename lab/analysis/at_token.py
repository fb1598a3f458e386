"""What reaches the token's module: from the workers themselves, or, where a program owns it for them, from that one.

A broker has one context, one login and one process for all; p11-kit's server one of each for each client. What they
save, and what they cost, is only told with the owner's own share in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from lab.analysis.calls import ProcessCalls
from lab.analysis.quantiles import Distribution, in_ms, merged
from lab.record.model import TrialRecord

_KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Part:
    """One process's share. logins: those that the module granted."""

    contexts: int
    logins: int
    calls: int


@dataclass(frozen=True)
class AtToken:
    """One trial. owner: program that calls the module for the workers, None where they do it themselves.

    processes: those that call the module. pss_mib: of the owner with what it started, and of workers and owner; None
    where it was not read. durations: of the owner's calls, by function.
    """

    owner: str | None
    processes: int
    contexts: int
    logins: int
    calls: int
    sessions_peak: int
    owner_pss_mib: float | None
    all_pss_mib: float | None
    durations: Mapping[str, Distribution]


def part_of(calls: ProcessCalls) -> Part:
    """The share of one process."""
    return Part(int(calls.successes("C_Initialize").size), int(calls.successes("C_Login").size), len(calls))


def of_trial(
    record: TrialRecord, parts: Iterable[Part], sessions_peak: int, durations: Mapping[str, Distribution]
) -> AtToken:
    """parts: of the processes that call the module."""
    every = list(parts)
    owners = [owner.pss_kib for owner in record.owners]
    workers = [process.pss_kib for process in record.processes if process.role in ("worker", "master")]
    return AtToken(
        owner=record.owners[0].program if record.owners else None,
        processes=len(every),
        contexts=sum(part.contexts for part in every),
        logins=sum(part.logins for part in every),
        calls=sum(part.calls for part in every),
        sessions_peak=sessions_peak,
        owner_pss_mib=_mib(owners) if owners else None,
        all_pss_mib=_mib([*workers, *owners]) if workers else None,
        durations=durations,
    )


def to_json(trials: Sequence[AtToken], usable: Sequence[AtToken]) -> dict[str, Any] | None:
    """As in summary.json: counts over all trials, memory (medians) and durations over usable ones."""
    if not trials:
        return None
    names = sorted({name for trial in usable for name in trial.durations})
    whole = {name: merged(trial.durations[name] for trial in usable if name in trial.durations) for name in names}
    return {
        "owner": next((trial.owner for trial in trials if trial.owner), None),
        "processes": sum(trial.processes for trial in trials),
        "contexts": sum(trial.contexts for trial in trials),
        "logins": sum(trial.logins for trial in trials),
        "calls": sum(trial.calls for trial in trials),
        "sessions_peak": max(trial.sessions_peak for trial in trials),
        "owner_pss_mib_p50": _median(trial.owner_pss_mib for trial in usable),
        "all_pss_mib_p50": _median(trial.all_pss_mib for trial in usable),
        "owner_ms": {
            name: {"count": found.total, **in_ms(found, ("p50", "p99"), largest=False)} for name, found in whole.items()
        },
    }


def _mib(parts: Iterable[int | None]) -> float | None:
    known = list(parts)
    return sum(part for part in known if part is not None) / _KIB_PER_MIB if None not in known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
