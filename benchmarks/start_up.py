"""How soon a command of the lab does something: help, a dry run, and the first trial of a scenario.

    python benchmarks/start_up.py [--turns 5] [--scenario scenarios/shared-vs-per-process.toml]

The first trial is timed twice on its way: to the making of its folder (its birth time, a file time) and to its first
recorded step, which a worker makes after the trial's root has been exec'd and has forked it. Both count from the start
of the command, as a user sees it. script/run is timed when the machine is ready, so that it has only to find that out.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import table  # noqa: E402  (a script: the checkout is on no path before)

LAB = [sys.executable, "-m", "lab"]
RUN = [str(ROOT / "script" / "run")]
SHORT = ["--set", "blocks=1", "--set", "load.duration_s=0.2", "--set", "expect={}", "--quiet"]


def call(*command: str) -> float:
    """Seconds of a command from start to end. Its status is its own affair, as long as it ran (3: expectations)."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    return seconds


def first_trial(command: list[str], scenario: Path) -> tuple[float, float]:
    """Seconds from the command to the first trial's folder, and to its first recorded step."""
    with tempfile.TemporaryDirectory(dir=ROOT / "results", prefix="start-up-") as temporary:
        run = Path(temporary) / "run"
        began, began_ns = time.time(), time.monotonic_ns()
        call(*command, str(scenario), "--out", str(run), *SHORT)
        (trial,) = (run / "trials").glob("0001-*")
        born = subprocess.run(["stat", "-c", "%.W", str(trial)], capture_output=True, text=True, check=True).stdout
        first_ns = min(pq.read_table(trial / "operations.parquet")["started_ns"].to_pylist())
        return float(born) - began, (first_ns - began_ns) / 1e9


def shown(seconds: list[float], target_s: float) -> list[str]:
    return [f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}", f"{target_s:g}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--scenario", type=Path, default=ROOT / "scenarios" / "shared-vs-per-process.toml")
    options = parser.parse_args()
    scenario = str(options.scenario)
    single: dict[str, tuple[float, Callable[[], float]]] = {
        "python -m lab --help": (0.3, lambda: call(*LAB, "--help")),
        "python -m lab SCENARIO --dry-run": (3, lambda: call(*LAB, scenario, "--dry-run")),
        "script/run SCENARIO --dry-run": (3, lambda: call(*RUN, scenario, "--dry-run")),
    }
    call(*RUN, scenario, "--dry-run")  # not counted: it may have to install
    found: dict[str, list[float]] = {name: [] for name in single}
    folder: dict[str, list[float]] = {"python -m lab": [], "script/run": []}
    step: dict[str, list[float]] = {"python -m lab": [], "script/run": []}
    for _ in range(options.turns):
        for name, (_, measure) in single.items():
            found[name].append(measure())
        for name, command in (("python -m lab", LAB), ("script/run", RUN)):
            to_folder, to_step = first_trial(command, options.scenario)
            folder[name].append(to_folder)
            step[name].append(to_step)
    rows = [[name, *shown(found[name], target)] for name, (target, _) in single.items()]
    for name in folder:
        rows.append([f"{name} SCENARIO, to the first trial's folder", *shown(folder[name], 2)])
        rows.append([f"{name} SCENARIO, to the first trial's first row", *shown(step[name], 2)])
    print(table(["command", "median s", "range s", "target s"], rows))
    print(f"{options.turns} turns; {options.scenario.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
