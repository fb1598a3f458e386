"""[margin] and [expect]: what the arms are compared by, and what the summary must say."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lab.scenario.problems import Problem, dotted, show
from lab.scenario.resolved import Arm
from lab.scenario.written import METRICS

OPEN_MARGIN: Final = {"response_ms.p50": 0.05, "response_ms.p99": 0.10}
CLOSED_MARGIN: Final = {"throughput_hz": 0.05, "service_ms.p50": 0.05}

SUMMARY: Final = ("schema", "run", "scenario", "seed", "valid", "invalid_because", "skipped", "arms", "comparisons")
ARM_SUMMARY: Final = (
    *("token", "topology", "context", "session", "locking", "bridge", "server", "workload"),
    *("trials", "planned", "ok", "fail", "info", "shed", "verified", "throughput_hz"),
    *("response_ms", "service_ms", "lag_ms", "pkcs11_ms", "cold_ms", "sessions", "processes", "failures", "rules"),
    *("connections", "generator", "where_ms", "hosts", "real_server", "diagnosis", "reset_on_fork", "over"),
    *("nonces", "at_token", "ci", "warmup", "noisy"),
)
RULES: Final = (
    *("initialize-per-process", "own-handles", "login-per-process", "one-thread-per-session", "locking-declared"),
    *("unique-randomness", "sessions-closed", "parent-unharmed", "no-crash", "no-hang"),
)
NONCES: Final = ("signatures", "repeated", "processes", "of", "proven", "evidence")
VERDICTS: Final = ("conforms", "violates", "undefined", "not-exercised")


def default_margin(arms: Sequence[Arm]) -> dict[str, float]:
    """The margins of the load modes that the arms have."""
    modes = {arm.load.mode for arm in arms}
    return {**(OPEN_MARGIN if "open" in modes else {}), **(CLOSED_MARGIN if "closed" in modes else {})}


def margin_problems(margin: Mapping[str, float]) -> Iterator[Problem]:
    for metric in margin:
        if metric not in METRICS:
            yield Problem(dotted(("margin", metric)), "no such metric" + _nearest(metric, METRICS))


def expect_problems(expect: Mapping[str, Any], arms: Sequence[str]) -> Iterator[Problem]:
    """Paths that summary.json will not have, as far as that is known before the run."""
    for path, value in expect.items():
        if text := _path_problem(path, value, arms):
            yield Problem(dotted(("expect", path)), text)


def _path_problem(path: str, value: Any, arms: Sequence[str]) -> str | None:
    top, _, rest = path.partition(".")
    if top not in SUMMARY:
        return "no such key of summary.json" + _nearest(top, SUMMARY)
    if top != "arms":
        return None
    # the longest name first: a name made by a matrix may hold dots, as in rate_hz=0.5
    name = next((arm for arm in sorted(arms, key=len, reverse=True) if rest == arm or rest.startswith(f"{arm}.")), None)
    if name is None:
        return "no such arm; the arms are " + ", ".join(arms[:12]) + (", ..." if len(arms) > 12 else "")
    figure, _, detail = rest[len(name) + 1 :].partition(".")
    if figure not in ARM_SUMMARY:
        return f'no such figure of arm "{name}"' + _nearest(figure, ARM_SUMMARY)
    if figure == "nonces" and detail not in ("", *NONCES):
        return "no such figure of repeated nonces" + _nearest(detail, NONCES)
    if figure == "rules":
        rule, _, part = detail.partition(".")
        if rule not in RULES:
            return "no such rule" + _nearest(rule, RULES)
        if part == "verdict" and value not in VERDICTS:
            return f"{show(value)} is not allowed; use one of {', '.join(VERDICTS)}"
    return None


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; use one of {', '.join(names)}"
