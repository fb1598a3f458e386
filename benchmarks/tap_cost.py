"""What the tap costs: ns per call of a module that does nothing, and the ratio for a P-256 signature on SoftHSM.

    python benchmarks/tap_cost.py [--pairs 15] [--rows-folder DIR]

Direct and tapped calls alternate in one process on one mapping of the module (benchmarks/tap_cost.c), so that what
disturbs one disturbs the other. Reported: the median over pairs, and between which values the middle half lies.
Rows are written to --rows-folder, a temporary folder by default; its file system is part of the cost (a page fault for
each 64 rows).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.native.build import SOURCES, TESTS, compile_c  # noqa: E402  (a script: the checkout is on no path before)

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
MIN_PAIRS = 15
CALLS_PER_RUN = 200_000
SIGNATURES_PER_RUN = 2_000


def run(built: Path, what: str, module: Path, pairs: int, calls: int, environment: dict[str, str]) -> list[list[float]]:
    """[[direct_ns, tapped_ns], ...], one per pair."""
    program = [str(built / "tap_cost"), what, str(built / "tap.so"), str(module), str(pairs), str(calls)]
    done = subprocess.run(program, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
    return [[float(one) for one in line.split()] for line in done.stdout.splitlines()]


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.4g} (middle half {low:.4g} to {high:.4g}, {len(values)} pairs)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=MIN_PAIRS)
    parser.add_argument("--rows-folder", type=Path, help="where the rows go")
    options = parser.parse_args()
    if options.pairs < MIN_PAIRS:
        parser.error(f"a median over fewer than {MIN_PAIRS} pairs says little")
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory(dir=options.rows_folder) as rows:
        built = Path(made)
        compile_c(built / "tap.so", SOURCES / "tap.c")
        compile_c(built / "fake.so", TESTS / "fake_module.c")
        compile_c(built / "tap_cost", ROOT / "benchmarks" / "tap_cost.c", shared=False)
        tokens = built / "tokens"
        tokens.mkdir()
        (built / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")

        environment = {"LAB_TAP_DIR": rows, "LAB_TAP_MODULE": str(built / "fake.so")}
        pairs = run(built, "calls", built / "fake.so", options.pairs, CALLS_PER_RUN, environment)
        print("direct call, ns:          ", spread([direct for direct, _ in pairs]))
        print("tapped - direct, ns:      ", spread([tapped - direct for direct, tapped in pairs]))
        if not SOFTHSM.is_file():
            print(f"no SoftHSM at {SOFTHSM}: signatures are not measured")
            return 0
        environment |= {"LAB_TAP_MODULE": str(SOFTHSM), "SOFTHSM2_CONF": str(built / "softhsm2.conf")}
        pairs = run(built, "sign", SOFTHSM, options.pairs, SIGNATURES_PER_RUN, environment)
        print("P-256 signature, ns:      ", spread([direct for direct, _ in pairs]))
        print("tapped / direct signature:", spread([tapped / direct for direct, tapped in pairs]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
