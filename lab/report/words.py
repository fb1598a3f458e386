"""Figures and verdicts as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

MISSING: Final = "n/a"

_METRIC: Final = {
    "response_ms": "response time",
    "service_ms": "service time",
    "lag_ms": "lag",
    "cold_ms": "cold start",
    "pkcs11_ms": "PKCS#11 call time",
}
_QUANTILE: Final = {"p50": "at p50", "p90": "at p90", "p99": "at p99", "p99.9": "at p99.9", "max": "at most"}

PART: Final = {
    "late": "late",
    "accept": "wait for accept",
    "waiting": "wait between steps",
    "software": "TLS in software",
    "token": "token",
    "back": "way back",
}
"""Parts of a handshake's time (lab.analysis.stories), in their order."""

RULE: Final = {
    "initialize-per-process": "called PKCS#11 without a C_Initialize of its own",
    "own-handles": "used a handle that it had not obtained itself",
    "login-per-process": "was logged in without having logged in",
    "one-thread-per-session": "used one session from two threads at once",
    "locking-declared": "used threads after declaring none",
    "unique-randomness": "repeated a nonce or a random output",
    "sessions-closed": "left sessions open",
    "parent-unharmed": "harmed the parent's context",
    "no-crash": "crashed",
    "no-hang": "hung",
}
"""What was done where a rule is broken."""


POLICY: Final = {
    "shared": "children use what their parent made",
    "per-process": "each process makes its own",
    "reinit": "each child reloads its parent's",
    "broker": "one process has it, and the others ask that one",
}
"""Who has the context after the fork, by context policy (DESIGN 2)."""

CAUSE: Final = {
    "crash-without-locking": "crashed in threads after C_Initialize without locking",
    "inherited-handle": "used an inherited handle",
    "inherited-login": "inherited a login under a fresh C_Initialize",
    "login-race": "did not find the token while another process logged in",
    "context-of-an-ancestor": "used, as the server's master, the context of a dead parent",
}
"""What was found where a cause was diagnosed (lab.analysis.diagnosis)."""


def milliseconds(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    return significant(value)


def significant(value: float | None) -> str:
    """Three significant digits of small numbers, whole numbers with separators above 100; n/a of None."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{value:.6f}".rstrip("0").rstrip(".") if "e" in text else text


def count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def metric(name: str) -> str:
    """A metric's name in words: `response time at p50`."""
    if name == "throughput_hz":
        return "throughput"
    group, _, part = name.partition(".")
    if group == "pkcs11_ms":
        function, _, part = part.partition(".")
        return f"{function} {_QUANTILE.get(part, part)}"
    if group == "where_ms":
        part, _, quantile = part.partition(".")
        return f"{PART.get(part, part)} of a handshake {_QUANTILE.get(quantile, quantile)}"
    return f"{_METRIC.get(group, group)} {_QUANTILE.get(part, part.replace('_', ' '))}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number of things: `1 block`, `2 blocks`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def both(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def comparison(found: Mapping[str, Any]) -> str:
    """One comparison as a sentence: the ratio arm / baseline, its interval, and the verdict.

    >>> comparison({"metric": "response_ms.p50", "arm": "b", "baseline": "a", "ratio": 1.031, "ci": [1.01, 1.052],
    ...             "margin": 0.05, "verdict": "inconclusive", "because": None})
    'response time at p50: b / a = 1.03 [1.01, 1.05]: inconclusive at a margin of 5 %'
    """
    subject, arm, baseline = metric(found["metric"]), found["arm"], found["baseline"]
    because = f" ({found['because']})" if found["because"] else ""
    if found["verdict"] == "inconclusive" and str(found["because"]).startswith("the interval"):
        because = ""  # the sentence shows both, the interval and the margin
    if found.get("blocks_to_decide"):
        blocks = counted(found["blocks_to_decide"], "block")
        because += (
            f"; if it is really {ratio(found['ratio'], found['margin'])}, a run of {blocks} would probably decide"
        )
    if found["verdict"] == "not-comparable":
        return f"{subject}: {arm} cannot be compared with {baseline}{because}"
    verdict = f"{found['verdict']} at a margin of {100 * found['margin']:g} %{because}"
    if found["ratio"] is None:
        return f"{subject}: {arm} / {baseline} = {MISSING}: {verdict}"
    spread = f" [{', '.join(ratio(end, found['margin']) for end in found['ci'])}]" if found["ci"] else ""
    return f"{subject}: {arm} / {baseline} = {ratio(found['ratio'], found['margin'])}{spread}: {verdict}"


def verdict(found: Mapping[str, Any]) -> tuple[str, str]:
    """A decided comparison as what was found of which metric, and the figures that say so.

    >>> verdict({"metric": "throughput_hz", "arm": "b", "baseline": "a", "ratio": 1.31, "ci": [1.22, 1.4],
    ...          "margin": 0.05, "verdict": "faster", "because": None})
    ('b is faster than a in throughput', 'b / a = 1.31 [1.22, 1.40]: faster at a margin of 5 %')
    """
    relation = "equivalent to" if found["verdict"] == "equivalent" else f"{found['verdict']} than"
    _, _, figures = comparison(found).partition(": ")
    return f"{found['arm']} is {relation} {found['baseline']} in {metric(found['metric'])}", figures


def ratio(value: float, margin: float) -> str:
    """Two decimals, three where the margin is narrow; two digits of what is small, and large ones as other figures."""
    if value < 0.1:
        return significant(float(f"{value:.2g}"))
    if value >= 10:
        return significant(value)
    return f"{value:.{2 if margin >= 0.05 else 3}f}"


def blocks_chosen(chosen: Mapping[str, Any], why: bool = True) -> str:
    """How the number of blocks came about, from summary.json's blocks_chosen; why a default stands is always said."""
    told = f"blocks: {chosen['blocks']}, "
    told += f"chosen by a pilot of {chosen['pilot']}" if chosen["chosen"] else "the default"
    return f"{told}: {chosen['because']}" if why or not chosen["chosen"] else told
