"""Two arms that are the same, on a real token: no difference is to be found, and what these blocks could have found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lab.calibration.check import Check

NO_DIFFERENCE: Final = ("equivalent", "inconclusive")


def verdicts(comparisons: Iterable[Mapping[str, Any]]) -> list[Check]:
    """comparisons: those of summary.json. Each passes where its verdict is no difference.

    Less than one in twenty fails by chance, for an interval of 95 % has to clear a margin too.
    """
    return [_verdict(one) for one in comparisons]


def detectable(ci: tuple[float, float]) -> float:
    """The effect that the interval of a ratio lets see, as a fraction: half its width, on the scale of its logarithm.

    An interval of that width clears a ratio of 1 where the true ratio is so far from it.
    """
    low, high = ci
    return math.sqrt(high / low) - 1


def _verdict(one: Mapping[str, Any]) -> Check:
    ci, figure, measured = one["ci"], None, str(one["verdict"])
    told = one["because"] or ""
    if ci is not None:
        figure = detectable(tuple(ci))
        told = (
            f"ratio {one['ratio']:.3f} [{ci[0]:.3f}, {ci[1]:.3f}]; {one['blocks']} blocks like these see an effect"
            f" of {100 * figure:.2g} %"
        )
    passed = ci is not None and one["verdict"] in NO_DIFFERENCE
    return Check("same", f"A/A, {one['metric']}", measured, "no difference", passed, figure, told)
