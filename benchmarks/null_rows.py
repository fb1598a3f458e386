"""How many rows per second two processes record in the null workload: the lab's own ceiling.

    python benchmarks/null_rows.py [--processes 2] [--turns 15] [--seconds 0.5] [--folder DIR] [--scenario-turns 5]

First the loops themselves, in forked processes, with rows in --folder (the checkout's results/ by default) and, in
turns with it, in memory (/dev/shm), so that what the file system costs shows as a ratio. Then the same through
`python -m lab`: a closed loop, prefork, counted by its summary.json. Every row that is counted is read back from its
file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import spread, table  # noqa: E402  (a script: the checkout is on no path before)
from lab.native.loops import Drive, Load, Work  # noqa: E402
from lab.record.dtypes import BEGUN, OPERATION  # noqa: E402
from lab.record.rowfile import read_rows  # noqa: E402

MEMORY = Path("/dev/shm")
ROWS_PER_SECOND_AT_MOST = 20_000_000
HEAD_START_NS = 20_000_000

SCENARIO = """
name = "null-rows"
question = "How many rows per second do two processes record?"
seed = 1
blocks = 1
[topology]
kind = "prefork"
processes = {processes}
[workload]
kind = "null"
[load]
mode = "closed"
warmup_s = 0.0
duration_s = {seconds}
[[arm]]
name = "null"
"""


def record(folder: Path, process: int, seconds: float, orders: Connection) -> None:
    """One process: waits for the instant, fills its file, and answers with the time that it took in ns."""
    drive = Drive(folder, process, round(ROWS_PER_SECOND_AT_MOST * seconds), 0)
    drive.set(Work("null"))
    orders.send(0)
    release_ns = orders.recv()
    drive.run(0, Load(release_ns, 0, round(seconds * 1e9), 0))
    orders.send(time.monotonic_ns() - release_ns)


def loops(parent: Path, processes: int, seconds: float) -> float:
    """Rows per second of all processes together, counted in their files."""
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(dir=parent, prefix="null-rows-") as temporary:
        folder = Path(temporary)
        pipes, children = [], []
        for process in range(1, processes + 1):
            mine, theirs = fork.Pipe()
            child = fork.Process(target=record, args=(folder, process, seconds, theirs))
            child.start()
            mine.recv()
            pipes.append(mine)
            children.append(child)
        for pipe in pipes:
            pipe.send(time.monotonic_ns() + HEAD_START_NS)
        took_ns = [pipe.recv() for pipe in pipes]
        for child in children:
            child.join()
        return sum(rows_in(folder, process) / took_ns[process - 1] * 1e9 for process in range(1, processes + 1))


def rows_in(folder: Path, process: int) -> int:
    file = read_rows(folder / f"operations-{process}.rows", OPERATION)
    if file is None or file.lost:
        raise SystemExit(f"process {process} lost rows")
    return int((file.rows["state"] > BEGUN).sum())


def scenario(parent: Path, processes: int, seconds: float) -> float:
    """Operations of one trial per second, as the lab's own summary says."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="null-rows-") as temporary:
        folder = Path(temporary)
        (folder / "null.toml").write_text(SCENARIO.format(processes=processes, seconds=seconds))
        command = [sys.executable, "-m", "lab", str(folder / "null.toml"), "--out", str(folder / "run"), "--quiet"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the run is no measurement: {done.stdout}{done.stderr}")
        arm = json.loads((folder / "run" / "summary.json").read_text())["arms"]["null"]
        return float(arm["throughput_hz"])


def shown(hz: list[float]) -> str:
    return spread([one / 1e6 for one in hz])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--scenario-turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--folder", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    how: dict[str, Callable[[], float]] = {
        "disk": lambda: loops(options.folder, options.processes, options.seconds),
        "memory": lambda: loops(MEMORY, options.processes, options.seconds),
    }
    found: dict[str, list[float]] = {name: [] for name in how}
    for turn in range(options.turns):
        for name in list(how) if turn % 2 else reversed(how):
            found[name].append(how[name]())
    through = [scenario(options.folder, options.processes, options.seconds) for _ in range(options.scenario_turns)]
    ratios = [disk / memory for disk, memory in zip(found["disk"], found["memory"], strict=True)]
    rows = [
        ["loops, rows on disk", shown(found["disk"]), "million rows/s"],
        ["loops, rows in memory", shown(found["memory"]), "million rows/s"],
        ["disk / memory, by turns", spread(ratios), ""],
        ["python -m lab, rows on disk", shown(through), "million operations/s"],
    ]
    print(table([f"{options.processes} processes, null workload", "median (middle half)", "unit"], rows))
    print(f"one row: {1e9 * options.processes / statistics.median(found['disk']):.0f} ns of one process on disk")
    return 0


if __name__ == "__main__":
    sys.exit(main())
