"""A calibration as people see it: every check, and the line by which reports cite it."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from lab.calibration.check import Check, at_most, near, only_told
from lab.report.calibration import cite, show

CHECKS = [
    at_most("floor", "null, prefork, open loop", 0.6, 20, "µs"),
    only_told("floor", "handshake without a token", 2.3, "ms", "107 handshakes"),
    near("service", "median of 1 ms", 1.2, 1.0, 0.05, "ms"),
]


def stored(*checks: Check) -> dict[str, Any]:
    figures = {"floor_us": {"prefork": 0.61, "threads": 0.4}, "tap_us": 0.096, "service_error": {"1": 0.0012}}
    return {"utc": "2026-11-27T23:00:00Z", "figures": figures, "checks": [check.to_json() for check in checks]}


def test_the_line_names_day_floor_tap_and_recovery() -> None:
    assert cite(stored(CHECKS[0]), ["event", "threads"]) == (
        "calibrated 2026-11-27: the lab's own floor is 0.4 µs per operation in threads, the tap adds 0.096 µs per call,"
        " a service of 1 ms was recovered within 0.12 %"
    )
    assert "in prefork" in cite(stored(CHECKS[0]), [None, "event"])


def test_a_calibration_that_failed_is_cited_as_such() -> None:
    assert cite(stored(*CHECKS)).endswith("1 of 3 checks failed (median of 1 ms)")


def test_what_was_not_measured_is_not_cited() -> None:
    nothing = {"utc": "2026-11-27T23:00:00Z", "figures": {"floor_us": {}, "tap_us": None, "service_error": {}}}
    assert cite({**nothing, "checks": [CHECKS[2].to_json()]}) == (
        "calibrated 2026-11-27: 1 of 1 checks failed (median of 1 ms)"
    )


def test_each_check_is_shown_with_what_was_wanted_in_80_columns() -> None:
    out = io.StringIO()
    show([check.to_json() for check in CHECKS], Console(file=out, width=80))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert "pass  null, prefork, open loop       0.6 µs                  at most 20 µs" in lines
    assert "      handshake without a token      2.3 ms" in lines
    assert "FAIL  median of 1 ms                 1.2 ms (+20.00 %)       1 ms ± 5 %" in lines
    assert "      107 handshakes" in lines
