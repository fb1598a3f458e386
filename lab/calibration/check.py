"""One thing that calibration looked at: what was measured, what was wanted, and whether that is met."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """`passed` is None where a figure is only told. measured, wanted and told are words for people; `figure` is the
    number, in the unit that `measured` names, None where there is none.
    """

    part: str
    name: str
    measured: str
    wanted: str
    passed: bool | None
    figure: float | None = None
    told: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def near(
    part: str, name: str, measured: float | None, known: float, tolerance: float, unit: str, told: str = ""
) -> Check:
    """Passes where measured / known is within 1 +- tolerance. None, which is nothing measured, fails."""
    wanted = f"{quantity(known, unit)} ± {100 * tolerance:.3g} %"
    if measured is None:
        return Check(part, name, "nothing", wanted, False, None, told)
    error = measured / known - 1 if known else (math.inf if measured else 0.0)
    words = f"{quantity(measured, unit)} ({100 * error:+.2f} %)"
    return Check(part, name, words, wanted, abs(error) <= tolerance, measured, told)


def at_most(part: str, name: str, measured: float | None, most: float, unit: str, told: str = "") -> Check:
    """Passes where 0 <= measured <= most."""
    wanted = f"at most {quantity(most, unit)}"
    if measured is None:
        return Check(part, name, "nothing", wanted, False, None, told)
    return Check(part, name, quantity(measured, unit), wanted, 0 <= measured <= most, measured, told)


def only_told(part: str, name: str, measured: float | None, unit: str, told: str = "") -> Check:
    words = "nothing" if measured is None else quantity(measured, unit)
    return Check(part, name, words, "", None, measured, told)


def failed(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if check.passed is False]


def quantity(value: float, unit: str) -> str:
    """A figure for people, to four digits."""
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{number} {unit}".rstrip()
