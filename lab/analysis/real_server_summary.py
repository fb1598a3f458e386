"""The part of summary.json that only an arm with a real server has.

Counts are over all trials, as in summary.py; peaks and levels are the highest of any trial, times pooled over trials.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Final

from lab.analysis import traced_summary
from lab.analysis.arms import ArmInfo
from lab.analysis.facts import TrialFacts
from lab.analysis.policy import KINDS, MIXED, WORD, ServerFacts, ServerProcess
from lab.analysis.restarts import Kill, Restart

LISTED: Final = 400
"""Processes that summary.json lists one by one; the table processes.csv has all."""


def to_json(arm: ArmInfo, trials: Sequence[TrialFacts]) -> dict[str, Any] | None:
    """What the arm's server amounted to; None where no trial had one."""
    told = [(trial, trial.server) for trial in trials if trial.server is not None]
    if not told:
        return None
    servers = [server for _, server in told]
    processes = [process for server in servers for process in server.processes]
    callers = [process.facts for process in processes if process.facts.calls]
    restarts = [server.restart for server in servers if server.restart]
    kills = [server.kill for server in servers if server.kill]
    listed = [(trial.number, process) for trial, server in told for process in server.processes]
    return {
        "name": servers[0].name,
        "version": servers[0].version,
        "settings": {
            "bridge_library": arm.bridge_library,
            "foreground": arm.foreground,
            "env_lines": arm.env_lines,
            "reload_at_s": arm.reload_at_s,
            "kill_at_s": arm.kill_at_s,
        },
        "policy": policy(servers),
        "processes": {
            "master": _kinds(process for process in processes if process.role == "master"),
            "workers": _kinds(process for process in processes if process.role == "worker"),
        },
        "initialized": _when(processes),
        "contexts": sum(process.contexts for process in processes),
        "sessions": {
            "opened": _spread([facts.opened for facts in callers]),
            "peak": _spread([facts.peak for facts in callers]),
        },
        "logins": sum(process.logins for process in processes),
        "ready_ms": _median(server.ready_ms for server in servers),
        "restart": _restart(restarts) if restarts else None,
        "kill": _kill(kills) if kills else None,
        "per_process": [_process(number, process) for number, process in listed[:LISTED]],
    }


def policy(servers: Sequence[ServerFacts]) -> str:
    """One word for all trials; those in which nothing used the token do not count."""
    words = {server.word for server in servers} - {WORD["unused"]}
    return MIXED if len(words) > 1 else next(iter(words), WORD["unused"])


def _kinds(processes: Iterable[ServerProcess]) -> dict[str, int]:
    """Every kind, also those that no process was."""
    counted = Counter(process.kind for process in processes)
    return {kind: counted[kind] for kind in KINDS}


def _when(processes: Sequence[ServerProcess]) -> dict[str, int]:
    """When workers that re-initialised did so; the first two count those of which it is known."""
    fresh = [one for one in processes if one.role == "worker" and one.kind in ("re-initialised", "inherited-login")]
    return {
        "with_first_handshake": sum(one.lazily is True for one in fresh),
        "before_first_handshake": sum(one.lazily is False for one in fresh),
        "before_ready": sum(one.after_ready is False for one in fresh),
        "after_ready": sum(one.after_ready is True for one in fresh),
    }


def _process(trial: int, process: ServerProcess) -> dict[str, Any]:
    """As of a traced program, with what it was."""
    return {
        "trial": trial,
        "role": process.role,
        "policy": process.kind,
        "with_first_handshake": process.lazily,
        **traced_summary.process(process.facts),
    }


def _restart(found: Sequence[Restart]) -> dict[str, Any]:
    reloads = [one for one in found if one.reload_ms is not None]
    children = [child for one in found for child in one.children]
    before = [one.workers_before for one in found if one.workers_before is not None]
    ratio = [one.workers_peak / one.workers_before for one in found if one.workers_before]
    sessions = [one.sessions_before for one in found if one.sessions_before is not None]
    return {
        "reloads": len(reloads),
        "reload_ms": _median(one.reload_ms for one in reloads),
        "population": {
            "before": max(before, default=None),
            "peak": max(one.workers_peak for one in found),
            "ratio": max(ratio, default=None),
            "doubled": any(value >= 2 for value in ratio),
            "least": min((one.workers_least for one in found if one.workers_least is not None), default=None),
            "none_ms": _spread([one.none_ms for one in found if one.none_ms is not None]),
        },
        "old": {
            "left": sum(one.left for one in found),
            "stayed": sum(one.stayed for one in found),
            "leave_ms": _spread([lasted for one in found for lasted in one.leave_ms]),
        },
        "settled_ms": _median(one.settled_ms for one in reloads),
        "sessions": {"before": max(sessions, default=None), "peak": max(one.sessions_peak for one in found)},
        "handshakes": {
            part: {
                "ok": sum(getattr(one, part)[0] for one in found),
                "fail": sum(getattr(one, part)[1] for one in found),
            }
            for part in ("before", "within", "after")
        },
        "children": {
            "born": len(children),
            "served": sum(child.first_handshake_ms is not None for child in children),
            **{
                name: _spread([value for child in children if (value := getattr(child, name)) is not None])
                for name in ("after_reload_ms", "to_first_handshake_ms", "first_handshake_ms", "cold_start_ms")
            },
        },
    }


def _kill(found: Sequence[Kill]) -> dict[str, Any]:
    return {
        "killed": len(found),
        "replaced": sum(one.replaced_ms is not None for one in found),
        "born_ms": _spread([one.born_ms for one in found if one.born_ms is not None]),
        "replaced_ms": _spread([one.replaced_ms for one in found if one.replaced_ms is not None]),
        "fail": sum(one.failed for one in found),
    }


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"median": median(values) if values else None, "max": max(values, default=None)}


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
