"""What does not fit on a screen, as CSV: trials, processes, their failures, their open sessions over time, their hosts.

Of real servers also what each process's context amounted to, and what each new worker paid; and the causes that were
diagnosed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lab.analysis import noise, warmup
from lab.analysis.cold import STEPS
from lab.analysis.facts import TrialFacts
from lab.record.model import TrialRecord

FOLDER: Final = "tables"

_FIGURES: Final = (
    "throughput_hz",
    *(f"{name}_ms.{quantile}" for name in ("response", "service") for quantile in ("p50", "p90", "p99")),
    *("lag_ms.p99", "cold_ms.total", "processes.pss_mib_p50"),
)
_TRIAL: Final = (
    *("trial", "block", "arm", "partial", "invalid_because", "planned", "ok", "fail", "info", "shed", "wrong"),
    *(name.replace(".", "_") for name in _FIGURES),
    *("warmup", "late_p99_ms", "late_max_ms", "steal_share", "pressure_share", "involuntary_hz", "noisy"),
)
_PROCESS: Final = (
    *("trial", "block", "arm", "process", "role", "pid", "end", "status", "finished", "planned", "pss_kib"),
    *(f"{step}_ms" for step in STEPS),
    *("last_call", "detail", "stack", "cpu_share"),
)
_FAILURE: Final = ("trial", "block", "arm", "process", "layer", "code", "functions", "count", "in_set_up", "side")
_SESSION: Final = ("trial", "block", "arm", "process", "at_ms", "open")
_HOST: Final = (
    *("trial", "block", "arm", "process", "host", "tls_contexts", "find_key_ms", "tls_context_ms"),
    *("first_handshake_ms", "handshakes", "sessions", "token_calls"),
)
_SERVER: Final = (
    *("trial", "block", "arm", "process", "role", "pid", "policy", "with_first_handshake", "after_ready", "contexts"),
    *("logins", "sessions_opened", "sessions_leaked", "sessions_peak", "calls", "inherited_calls", "errors", "threads"),
    *("born_ms", "gone_ms"),
)
_CHILD: Final = (
    *("trial", "block", "arm", "process", "born_ms", "after_reload_ms", "to_first_handshake_ms"),
    *("first_handshake_ms", "cold_start_ms"),
)
_COMPARISON: Final = (
    *("arm", "metric", "margin", "verdict", "because", "ratio", "ci_low", "ci_high", "p_value", "p_adjusted"),
    *("trials_a", "trials_b", "method"),
)
_CAUSE: Final = ("trial", "block", "arm", "cause", "count", "processes", "evidence")


def write_tables(folder: Path, trials: Sequence[tuple[TrialRecord, TrialFacts]]) -> None:
    """Writes trials.csv, with a row for each and its main figures, processes.csv, failures.csv and sessions.csv.

    Where there were handshakes, hosts.csv.
    Where there was a real server, servers.csv, with a row for each of its processes, and children.csv, with one for
    each worker that was born during the load of a trial with a restart; where a cause was found, causes.csv.
    Times in ms; at_ms counts from the release of the trial.
    """
    folder.mkdir(exist_ok=True)
    _write(folder / "trials.csv", _TRIAL, _trials([facts for _, facts in trials]))
    _write(folder / "processes.csv", _PROCESS, (row for record, facts in trials for row in _processes(record, facts)))
    _write(folder / "failures.csv", _FAILURE, (row for _, facts in trials for row in _failures(facts)))
    _write(folder / "sessions.csv", _SESSION, (row for record, facts in trials for row in _sessions(record, facts)))
    if any(facts.handshakes is not None for _, facts in trials):
        _write(folder / "hosts.csv", _HOST, (row for _, facts in trials for row in _hosts(facts)))
    if any(facts.server is not None for _, facts in trials):
        _write(folder / "servers.csv", _SERVER, (row for record, facts in trials for row in _servers(record, facts)))
        _write(folder / "children.csv", _CHILD, (row for _, facts in trials for row in _children(facts)))
    if any(finding.count for _, facts in trials for finding in facts.diagnosis.values()):
        _write(folder / "causes.csv", _CAUSE, (row for _, facts in trials for row in _causes(facts)))


def write_compared(
    folder: Path, comparisons: Sequence[Mapping[str, Any]], runs: Mapping[str, Sequence[TrialFacts]]
) -> None:
    """Of two runs: comparisons.csv, as in compare.json, and trials.csv, with every compared metric of each trial.

    runs: the trials of each, by its name (A, B). Times in ms.
    """
    folder.mkdir(exist_ok=True)
    _write(folder / "comparisons.csv", _COMPARISON, map(_comparison, comparisons))
    more = [name for name in dict.fromkeys(each["metric"] for each in comparisons) if name not in _FIGURES]
    rows = (
        (run, *row, *(facts.figures().get(name) for name in more))
        for run, trials in runs.items()
        for facts, row in zip(trials, _trials(trials), strict=True)
    )
    _write(folder / "trials.csv", ("run", *_TRIAL, *(name.replace(".", "_") for name in more)), rows)


def _comparison(each: Mapping[str, Any]) -> Sequence[Any]:
    return (
        *(each[key] for key in ("arm", "metric", "margin", "verdict", "because", "ratio")),
        *(each["ci"] or (None, None)),
        *(each[key] for key in ("p_value", "p_adjusted")),
        *each["trials"],
        each["method"],
    )


def _trials(every: Sequence[TrialFacts]) -> Iterator[Sequence[Any]]:
    noisy: dict[int, str] = {}
    for arm in {facts.arm: None for facts in every}:
        noisy |= noise.disturbed([(facts.number, facts.noise) for facts in every if facts.arm == arm])
    return (_trial(facts, noisy.get(facts.number)) for facts in every)


def _trial(facts: TrialFacts, noisy: str | None) -> Sequence[Any]:
    counted, figures, around = facts.outcomes, facts.figures(), facts.noise
    return (
        *(facts.number, facts.block, facts.arm, facts.partial, "; ".join(facts.invalid_because)),
        *(counted.planned, counted.ok, counted.fail, counted.info, counted.shed, counted.wrong),
        *(figures.get(name) for name in _FIGURES),
        warmup.label(facts.course),
        *((around.late_p99_ms, around.late_max_ms, around.steal_share) if around else (None,) * 3),
        *((around.pressure_share, around.involuntary_hz) if around else (None,) * 2),
        noisy,
    )


def _processes(record: TrialRecord, facts: TrialFacts) -> Iterator[Sequence[Any]]:
    for process in record.processes:
        cold = facts.cold.get(process.index, {})
        yield (
            *(record.number, record.block, record.arm, process.index, process.role, process.pid, process.end),
            *(process.status, process.finished, process.planned, process.pss_kib),
            *(cold.get(step) for step in STEPS),
            *(process.last_call, process.detail, process.stack),
            process.cpu_ns / process.busy_ns if process.cpu_ns is not None and process.busy_ns else None,
        )


def _failures(facts: TrialFacts) -> Iterator[Sequence[Any]]:
    for process, failure in facts.failures_by_process:
        functions = " ".join(name for name, _ in failure.functions)
        place = (facts.number, facts.block, facts.arm, process)
        yield (*place, failure.layer, failure.code, functions, failure.count, failure.setup, failure.side)


def _hosts(facts: TrialFacts) -> Iterator[Sequence[Any]]:
    for host in facts.handshakes.hosts if facts.handshakes is not None else ():
        yield (
            *(facts.number, facts.block, facts.arm, host.process, host.host, host.tls_contexts),
            *(host.find_key_ms, host.tls_context_ms, host.first_handshake_ms),
            *(host.handshakes, host.sessions, host.token_calls),
        )


def _servers(record: TrialRecord, facts: TrialFacts) -> Iterator[Sequence[Any]]:
    records = {process.index: process for process in record.processes}
    start_ns = record.released_ns or 0
    for process in facts.server.processes if facts.server is not None else ():
        calls, life = process.facts, records[process.index]
        yield (
            *(facts.number, facts.block, facts.arm, process.index, process.role, calls.pid, process.kind),
            *(process.lazily, process.after_ready, process.contexts, process.logins),
            *(calls.opened, calls.leaked, calls.peak, calls.calls, calls.inherited, sum(calls.errors.values())),
            calls.threads,
            *(None if at_ns is None else (at_ns - start_ns) / 1e6 for at_ns in (life.born_ns, life.gone_ns)),
        )


def _children(facts: TrialFacts) -> Iterator[Sequence[Any]]:
    restart = facts.server.restart if facts.server is not None else None
    for child in restart.children if restart is not None else ():
        yield (
            *(facts.number, facts.block, facts.arm, child.process, child.born_ns / 1e6, child.after_reload_ms),
            *(child.to_first_handshake_ms, child.first_handshake_ms, child.cold_start_ms),
        )


def _causes(facts: TrialFacts) -> Iterator[Sequence[Any]]:
    for cause, finding in facts.diagnosis.items():
        if finding.count:
            place = (facts.number, facts.block, facts.arm)
            yield (*place, cause, finding.count, finding.processes, finding.evidence)


def _sessions(record: TrialRecord, facts: TrialFacts) -> Iterator[Sequence[Any]]:
    start_ns = record.released_ns or 0
    for process, (at_ns, count) in sorted(facts.sessions.series.items()):
        for at, number in zip(at_ns.tolist(), count.tolist(), strict=True):
            yield facts.number, facts.block, facts.arm, process, (at - start_ns) / 1e6, number


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
