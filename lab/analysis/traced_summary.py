"""The part of summary.json that only a traced program has: its processes, and its calls by function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from lab.analysis.facts import TrialFacts
from lab.analysis.quantiles import Distribution, in_ms, merged
from lab.analysis.traced import TracedProcess

_NS_PER_MS: Final = 1e6


def to_json(trials: Sequence[TrialFacts]) -> dict[str, Any]:
    """{"processes": [...], "calls": {FUNCTION: {"count", "errors", "p50", "p99", "max", "total"}}}, times in ms."""
    processes = [process for trial in trials for process in trial.traced]
    names = {name for trial in trials for name in trial.calls}
    names |= {process.unfinished for process in processes if process.unfinished}
    calls = {}
    for name in sorted(names):
        lasted = merged(trial.calls[name] for trial in trials if name in trial.calls)
        calls[name] = {
            "count": lasted.total,
            "errors": sum(process.errors.get(name, 0) for process in processes),
            "unfinished": sum(process.unfinished == name for process in processes),
            **in_ms(lasted, ("p50", "p99")),
            "total": _total_ms(lasted),
        }
    return {"processes": [process(each) for each in processes], "calls": calls}


def _total_ms(part: Distribution) -> float:
    return int(part.values_ns.astype(np.int64) @ part.counts.astype(np.int64)) / _NS_PER_MS if part.total else 0.0


def process(process: TracedProcess) -> dict[str, Any]:
    """One process, as in summary.json."""
    return {
        "process": process.index,
        "pid": process.pid,
        "parent": process.parent,
        "program": process.program,
        "end": process.end,
        "status": process.status,
        "calls": process.calls,
        "errors": sum(process.errors.values()),
        "threads": process.threads,
        "inherited_calls": process.inherited,
        "initialized": [
            {
                "locking": each.locking,
                "changed_by_tap": each.changed_by_tap,
                "answer": each.answer,
                "count": each.count,
            }
            for each in process.initialised
        ],
        "finalized": process.finalised,
        "logins": process.logins,
        "sessions": {"opened": process.opened, "leaked": process.leaked, "peak": process.peak},
        "unfinished": process.unfinished,
    }
