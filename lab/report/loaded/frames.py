"""Rows and facts to DataFrames, with the columns and dtypes of columns.py. Empty ones have all columns too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from statistics import median
from typing import Any, Final

import numpy as np
import pandas as pd

from lab.analysis import noise, warmup
from lab.analysis.facts import TrialFacts
from lab.analysis.failures import Failure
from lab.analysis.rules.finding import Finding
from lab.analysis.rules.finding import judged as verdict_of
from lab.record.model import TrialRecord
from lab.report.loaded.arms import ArmSummary
from lab.report.loaded.columns import ARMS, COMPARISONS, FAILURES, RULES, SESSIONS, TRIALS, Column

Judged = Sequence[tuple[TrialRecord, TrialFacts]]
_QUANTILES: Final = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p99_9"), ("max", "max"))


def as_frame(columns: Mapping[str, Column], data: Mapping[str, Any]) -> pd.DataFrame:
    """A DataFrame of just these columns, each of its dtype; without a copy where they already have it."""
    frame = pd.DataFrame({name: data[name] for name in columns}, copy=False)
    wrong = {name: column.dtype for name, column in columns.items() if str(frame[name].dtype) != column.dtype}
    return frame.astype(wrong) if wrong else frame


def _from_rows(
    columns: Mapping[str, Column], rows: Iterable[Sequence[Any]], arms: Sequence[str] | None = None
) -> pd.DataFrame:
    """arms: names of the arms, in the order that their categories get."""
    listed = list(rows)
    data = dict(zip(columns, zip(*listed, strict=True), strict=True)) if listed else {}
    frame = as_frame(
        columns, {name: pd.Series(data.get(name, ()), dtype=column.dtype) for name, column in columns.items()}
    )
    return frame if arms is None else _in_order(frame, arms)


def _in_order(frame: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    frame["arm"] = frame["arm"].cat.set_categories(list(arms))
    return frame


def _place(facts: TrialFacts) -> tuple[Any, ...]:
    return facts.number, facts.block, facts.arm, facts.usable


def sessions(judged: Judged, arms: Sequence[str]) -> pd.DataFrame:
    """Open sessions over time, of each process that opened any."""
    parts: dict[str, list[Any]] = {name: [] for name in SESSIONS}
    for record, facts in judged:
        start_ns = record.released_ns or 0
        for process, (at_ns, count) in sorted(facts.sessions.series.items()):
            values = (*_place(facts), process)
            for name, value in zip(SESSIONS, values, strict=False):
                parts[name].append(np.full(at_ns.size, value))
            parts["at_ms"].append((at_ns - start_ns) / 1e6)
            parts["open"].append(count)
    data = {name: np.concatenate(part) if part else pd.Series(dtype=object) for name, part in parts.items()}
    return _in_order(as_frame(SESSIONS, data), arms)


def trials(judged: Judged, arms: Sequence[str]) -> pd.DataFrame:
    """One row per trial."""
    noisy: dict[int, str] = {}
    for arm in arms:
        noisy |= noise.disturbed([(facts.number, facts.noise) for _, facts in judged if facts.arm == arm])
    return _from_rows(TRIALS, (_trial(facts, noisy.get(facts.number, "")) for _, facts in judged), arms)


def _trial(facts: TrialFacts, noisy: str) -> tuple[Any, ...]:
    outcomes, figures, processes, opened = facts.outcomes, facts.figures(), facts.processes, facts.sessions
    known: dict[str, Any] = {
        **dict(zip(("trial", "block", "arm", "usable"), _place(facts), strict=True)),
        "why_not": "; ".join((*facts.invalid_because, *(("it was interrupted",) if facts.partial else ()))),
        "warmup": warmup.label(facts.course),
        "noise": noisy,
        "planned": outcomes.planned,
        "ok": outcomes.ok,
        "fail": outcomes.fail,
        "info": outcomes.info,
        "shed": outcomes.shed,
        "wrong": outcomes.wrong,
        "duration_s": facts.duration_s,
        "pss_mib": median(processes.pss_mib) if processes.pss_mib else None,
        "workers": processes.started,
        "crashed": processes.crashed,
        "hung": processes.hung,
        "sessions_opened": opened.opened,
        "sessions_leaked": opened.leaked,
        "sessions_peak_process": opened.peak_per_process,
        "sessions_peak": opened.peak_total,
    }
    if outcomes.wrong:  # who signs wrongly has no latency
        figures = {name: figure for name, figure in figures.items() if "_ms." not in name}
    return tuple(known[name] if name in known else figures.get(name) for name in TRIALS)


def failures(
    judged: Judged,
    arms: Sequence[str],
    when: Mapping[tuple[int, int, bool], Mapping[tuple[str, str], tuple[float, float]]],
) -> pd.DataFrame:
    """Failures by trial and process. when: of rows.when_failed(), all trials together."""
    return _from_rows(
        FAILURES,
        (
            _failure(facts, process, failure, when.get((facts.number, process, failure.side == "server"), {}))
            for _, facts in judged
            for process, failure in facts.failures_by_process
        ),
        arms,
    )


def _failure(
    facts: TrialFacts, process: int, failure: Failure, when: Mapping[tuple[str, str], tuple[float, float]]
) -> tuple[Any, ...]:
    functions = " ".join(name for name, _ in failure.functions if name != "-")
    first, last = when.get((failure.layer, failure.code), (None, None))
    told = (failure.layer, failure.code, functions, failure.count, failure.setup, failure.side, first, last)
    return (*_place(facts), process, *told)


def rules(judged: Judged, arms: Sequence[str]) -> pd.DataFrame:
    """One row per trial and rule."""
    return _from_rows(
        RULES,
        (
            (*_place(facts), rule, *_rule(record, facts, finding))
            for record, facts in judged
            for rule, finding in facts.rules.items()
        ),
        arms,
    )


def _rule(record: TrialRecord, facts: TrialFacts, finding: Finding) -> tuple[Any, ...]:
    found = verdict_of([(facts.number, finding)])
    at_ms = (finding.at_ns - (record.released_ns or 0)) / 1e6 if finding.count else None
    return found["verdict"], found["count"], found["processes"], at_ms, finding.evidence


def comparisons(found: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """From the comparisons of summary.json."""
    return _from_rows(COMPARISONS, (_comparison(each) for each in found))


def _comparison(each: Mapping[str, Any]) -> tuple[Any, ...]:
    low, high = each.get("ci") or (None, None)
    known = {**each, "ci_low": low, "ci_high": high, "because": each.get("because") or ""}
    return tuple(known.get(name) for name in COMPARISONS)


def arms(found: Iterable[ArmSummary]) -> pd.DataFrame:
    """One row per arm."""
    return _from_rows(ARMS, (_arm(arm) for arm in found))


def _arm(arm: ArmSummary) -> tuple[Any, ...]:
    known = {field.name: getattr(arm, field.name) for field in fields(arm)}
    known |= {name: known[name] or "" for name in ("token", "topology", "context")}
    known["arm"] = arm.name
    for name in ("response_ms", "service_ms", "lag_ms"):
        known |= {f"{name}.{quantile}": getattr(known[name], key) for quantile, key in _QUANTILES}
    known |= {f"cold_ms.{step}": value for step, value in arm.cold_ms.items()}
    known |= {
        f"{name}.{end}": ends[place] for name, ends in arm.ci.items() for place, end in enumerate(("low", "high"))
    }
    return tuple(known.get(name) for name in ARMS)
