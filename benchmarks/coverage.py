"""How often the intervals of one arm (`ci`) hold the truth: the figures of docs/method.md, drawn anew.

    python benchmarks/coverage.py [--runs 1200] [--seed 11] [--replicates 1000]

First the four kinds of data that the floors were set for, with as few trials and operations as there must be for an
interval. Then two kinds that are harder: both of the difficult ones at once, and trials of which one in ten is twice as
slow, which few trials mostly do not show.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import table  # noqa: E402  (a script: the checkout is on no path before)
from lab.analysis import intervals  # noqa: E402
from tests.analysis.drawn import Draw, autocorrelated, bimodal, held, lognormal, trial_effects  # noqa: E402


def both(random: np.random.Generator, trials: int, operations: int) -> NDArray[np.float64]:
    return autocorrelated(random, trials, operations) * np.exp(random.normal(0, 0.2, (trials, 1)))


def rarely_slow(random: np.random.Generator, trials: int, operations: int) -> NDArray[np.float64]:
    return lognormal(random, trials, operations) * np.where(random.random((trials, 1)) < 0.1, 2.0, 1.0)


KINDS: Final[dict[str, Draw]] = {
    "lognormal": lognormal,
    "bimodal": bimodal,
    "autocorrelated (0.9)": autocorrelated,
    "trials differ by 20 %": trial_effects,
    "the two together": both,
    "one trial in ten twice as slow": rarely_slow,
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=int, default=1200)
    asked.add_argument("--seed", type=int, default=11)
    asked.add_argument("--replicates", type=int, default=1000)
    options = asked.parse_args()
    rows = []
    for kind, draw in KINDS.items():
        cells = [kind]
        for name in intervals.NAMES:
            trials = intervals.LEAST_TRIALS[name]
            operations = intervals.LEAST_OPERATIONS[name] // trials
            covered, none = held(draw, name, trials, operations, options.seed, options.runs, options.replicates)
            share = covered / (options.runs - none)
            error = math.sqrt(share * (1 - share) / (options.runs - none))
            cells.append(f"{100 * share:.1f} ± {100 * error:.1f} %" + (f", {none} without" if none else ""))
        rows.append(cells)
    print(table(["data", *intervals.NAMES], rows))


if __name__ == "__main__":
    main()
