"""The run as tables: arms, comparisons, failures, rules, trials that were left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.report import words
from lab.report.figures.drawing import Sentence
from lab.report.real_servers import diagnoses, restarts
from lab.report.terminal import failure, further_settings, load, policy, shape, workload
from lab.report.told.markdown import Told, table
from lab.report.traced import context_of
from lab.report.words import count, milliseconds, significant

if TYPE_CHECKING:
    from lab.report.loaded import Run


def settings(run: Run) -> Told:
    """What each arm was."""
    further = further_settings(run.summary["arms"])
    rows = [
        (
            name,
            policy(arm),
            shape(arm),
            arm["session"] or "",
            arm["locking"] or "",
            workload(arm),
            load(arm),
            _token(arm),
            *(text(arm) for _, text in further),
        )
        for name, arm in run.summary["arms"].items()
    ]
    main = ("arm", "context", "topology", "sessions", "locking", "workload", "load", "token")
    return Told(table((*main, *(label for label, _ in further)), rows))


def _token(arm: Any) -> str:
    from lab.report.token_grid import token_of

    return token_of(arm) if arm["token"] else "none"


def outcomes(run: Run) -> Told:
    """What became of the operations of each arm, and how long they took; quantiles with too few operations are n/a."""
    rows = []
    for name, arm in run.summary["arms"].items():
        of = "response_ms" if arm["response_ms"]["p50"] is not None else "service_ms"
        times = [milliseconds(arm[of][quantile]) for quantile in ("p50", "p99", "p99.9")]
        counts = [count(arm[part]) for part in ("planned", "ok", "fail", "info", "shed")]
        rows.append((name, of.removesuffix("_ms"), *counts, *times, significant(arm["throughput_hz"])))
    header = ("arm", "time", "planned", "ok", "fail", "info", "shed", "p50, ms", "p99, ms", "p99.9, ms", "per second")
    return Told(table(header, rows, right=9))


def calls(run: Run) -> Told:
    """How often each PKCS#11 function was called, and how long it took."""
    rows = [
        (name, function, count(each["count"]), milliseconds(each["p50"]), milliseconds(each["p99"]))
        for name, arm in run.summary["arms"].items()
        for function, each in arm["pkcs11_ms"].items()
    ]
    return Told(
        table(("arm", "function", "count", "p50, ms", "p99, ms"), rows, right=3) if rows else "None was recorded."
    )


def processes(run: Run) -> Told | Sentence:
    """Of a traced program, each process and how it came by its context."""
    rows = [
        (process["process"], process["pid"], process["program"] or "?", count(process["calls"]), context_of(process))
        for arm in run.summary["arms"].values()
        for process in (arm.get("traced") or {"processes": ()})["processes"]
    ]
    if not rows:
        return Sentence("No program was traced in this run.")
    return Told(table(("process", "pid", "program", "calls", "context"), rows))


def comparisons(run: Run) -> Told:
    """Every comparison with its interval and verdict."""
    rows = [
        (
            *(words.metric(each["metric"]), f"{each['arm']} / {each['baseline']}", significant(each["ratio"])),
            "" if not each["ci"] else " to ".join(significant(end) for end in each["ci"]),
            *(f"{100 * each['margin']:g} %", each["verdict"], each["because"] or ""),
        )
        for each in run.summary["comparisons"]
    ]
    if not rows:
        return Told("Nothing was compared: there is one arm, or the scenario gives no margin.")
    return Told(table(("metric", "arms", "ratio", "95 % interval", "margin", "verdict", "because"), rows))


def failures(run: Run) -> Told:
    """Every kind of failure of each arm."""
    rows = [
        (name, each["layer"], failure(each)) for name, arm in run.summary["arms"].items() for each in arm["failures"]
    ]
    return Told(table(("arm", "layer", "what"), rows) if rows else "Nothing failed.")


def causes(run: Run) -> Told | None:
    """Causes that are known and were found in the calls; None where there is none."""
    rows = list(diagnoses(run.summary["arms"]))
    return Told(table(("arm", "known cause, found in the calls", "evidence"), rows)) if rows else None


def around_restarts(run: Run) -> Told | None:
    """Reloads, replaced children and kills of real servers; None where there is none."""
    rows = [(name, what) for name, what, _ in restarts(run.summary["arms"])]
    return Told(table(("arm", "around a restart"), rows)) if rows else None


def rules(run: Run) -> Told:
    """Rules that are broken or could not be judged, with the evidence; and how many of each arm hold."""
    rows = [
        (name, rule, each["verdict"], each["evidence"])
        for name, arm in run.summary["arms"].items()
        for rule, each in arm["rules"].items()
        if each["verdict"] in ("violates", "undefined")
    ]
    kept = sum(each["verdict"] == "conforms" for arm in run.summary["arms"].values() for each in arm["rules"].values())
    idle = sum(
        each["verdict"] == "not-exercised" for arm in run.summary["arms"].values() for each in arm["rules"].values()
    )
    told = f"{words.counted(kept, 'rule')} kept and {idle:,} not exercised, over all arms."
    return Told(f"{table(('arm', 'rule', 'verdict', 'evidence'), rows)}\n\n{told}" if rows else told)


def excluded(run: Run) -> Told:
    """Trials that no time was read from, with the reason."""
    frame = run.trials[~run.trials["usable"]]
    if frame.empty:
        return Told("None.")
    rows = [(each["trial"], each["arm"], each["block"], each["why_not"]) for _, each in frame.iterrows()]
    return Told(table(("trial", "arm", "block", "why"), rows))
