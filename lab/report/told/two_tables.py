"""Two runs beside each other, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lab.report import words
from lab.report.terminal import failure
from lab.report.told.markdown import Told, table
from lab.report.words import count, milliseconds, significant

if TYPE_CHECKING:
    from lab.report.comparing import Pair


def differences(pair: Pair) -> Told:
    """Every key of the scenarios and manifests that differs."""
    rows = [tuple(_text(each[key]) for key in ("key", "a", "b")) for each in pair.found["differs"]]
    return Told(table(("key", *pair.sides), rows) if rows else "Nothing that is known.")


def manifests(pair: Pair) -> Told:
    """Machine and versions of both runs, whether they differ or not."""
    told: list[dict[str, str]] = []
    for side in pair.sides.values():
        whole = side.run.manifest
        lines = {"run": side.summary["run"], "scenario": side.summary["scenario"], "seed": str(side.summary["seed"])}
        lines["started"] = _text(whole.get("started"))
        lines |= {f"machine: {key}": _text(value) for key, value in _part(whole.get("machine")).items()}
        lines |= {f"version of {key}": _text(value) for key, value in _part(whole.get("versions")).items()}
        tokens = whole.get("tokens")
        for place, token in enumerate(tokens if isinstance(tokens, list) else [], 1):
            lines |= {f"token {place}: {key}": _text(value) for key, value in _part(token).items()}
        told.append(lines)
    keys = dict.fromkeys(key for lines in told for key in lines)
    rows = [(key, *(lines.get(key, words.MISSING) for lines in told)) for key in keys]
    return Told(table(("", *pair.sides), rows))


def _part(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return words.MISSING if value is None else str(value)


def outcomes(pair: Pair) -> Told:
    """What became of the operations of each arm in each run, and how long they took."""
    rows = []
    for name, sides in pair.found["arms"].items():
        for run in pair.sides:
            arm = sides[run.lower()]
            of = "response_ms" if arm["response_ms"]["p50"] is not None else "service_ms"
            counts = [count(arm[part]) for part in ("trials", "planned", "ok", "fail", "info", "shed")]
            times = [milliseconds(arm[of][quantile]) for quantile in ("p50", "p99")]
            rows.append((name, run, *counts, of.removesuffix("_ms"), *times, significant(arm["throughput_hz"])))
    header = ("arm", "run", "trials", "planned", "ok", "fail", "info", "shed", "time", "p50, ms", "p99, ms")
    return Told(table((*header, "per second"), rows, right=3))


def comparisons(pair: Pair) -> Told:
    """Every comparison with its interval, test and verdict."""
    rows = [
        (
            *(each["arm"], words.metric(each["metric"]), _ratios(each, [each["ratio"]])),
            _ratios(each, each["ci"] or []),
            *(f"{100 * each['margin']:g} %", each["verdict"], ", ".join(map(str, each["trials"]))),
            "" if each["p_adjusted"] is None else f"{each['p_adjusted']:.2g}, {each['method']}",
            each["because"] or "",
        )
        for each in pair.found["comparisons"]
    ]
    header = (
        "arm",
        "metric",
        "B / A",
        "95 % interval",
        "margin",
        "verdict",
        "trials of A, B",
        "p adjusted, test",
        "because",
    )
    return Told(table(header, rows))


def _ratios(each: Mapping[str, Any], values: Sequence[float | None]) -> str:
    return " to ".join(words.MISSING if value is None else words.ratio(value, each["margin"]) for value in values)


def failures(pair: Pair) -> Told:
    """Every kind of failure of each arm in each run."""
    rows = [
        (name, run, each["layer"], failure(each))
        for name, sides in pair.found["arms"].items()
        for run in pair.sides
        for each in sides[run.lower()]["failures"]
    ]
    return Told(table(("arm", "run", "layer", "what"), rows) if rows else "Nothing failed.")


def rules(pair: Pair) -> Told:
    """Rules that one of the two broke, with the verdict in each."""
    rows = []
    for name, sides in pair.found["arms"].items():
        both = [sides[run.lower()]["rules"] for run in pair.sides]
        for rule in dict.fromkeys(rule for rules_ in both for rule in rules_):
            told = [each.get(rule, {}).get("verdict", words.MISSING) for each in both]
            if "violates" in told:
                rows.append((name, rule, *told))
    return Told(table(("arm", "rule", *pair.sides), rows) if rows else "No rule was broken in either.")


def excluded(pair: Pair) -> Told:
    """Trials that no time was read from, with the reason."""
    rows = [
        (run, str(facts.number), facts.arm, str(facts.block), "; ".join(facts.invalid_because) or "it was interrupted")
        for run, side in pair.sides.items()
        for _, facts in side.trials
        if not facts.usable
    ]
    return Told(table(("run", "trial", "arm", "block", "why"), rows) if rows else "None.")
