"""Holm's correction: among several tests, that any of them finds what is not there is as rare as it is for one.

Sture Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979), 65-70.
It holds whatever the tests have to do with each other; metrics of the same trials have much to do with each other.
"""

from __future__ import annotations

from collections.abc import Sequence


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Each p-value, adjusted for all of them, in the order in which they came: reject where it is below the level.

    >>> [round(p, 6) for p in adjusted([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    found = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, (len(p_values) - rank) * p_values[place])
        found[place] = min(1.0, highest)
    return found
