"""Whether the generator of handshakes tells the truth: of a server with 5 ms of delay, and of one that is stopped.

    python benchmarks/generator_truth.py [--turns 15] [--stops 7] [--only delay|stop]

Delay. benchmarks/generator_truth.c waits 5 ms between accept and the handshake: it sleeps, and asks the clock for the
last 0.2 ms. In each round of 30 ms there are three handshakes, 10 ms apart: one of the generator; one of the generator
with the server's twin, which has no delay; one of a stopwatch, the plainest client that can be timed. Their order
changes from turn to turn. What the p50 of response should be is known in three ways: from the plan and the server's own
stamps of the same connections, at the instant when it had the client's last message; from the stopwatch; and from the
twin, with the delay added that the stamps show. The last line is the generator of one turn against that of the turn
before: what noise alone does.

Stop. The lab's server, one process with a key in memory, is stopped for 1 s (SIGSTOP, SIGCONT) in the middle of an open
loop of 10 s with random arrivals. What the p99 of response should be follows from first come, first served (Lindley's
recursion): from the planned arrivals, the service times by the server's own stamps, and the second in which it stood
still; nothing that the generator stamped is in it. Beside it, what closed loops say of the same stop: the generator's
own, and that of `ab` (Debian package apache2-utils), whose percentiles are whole milliseconds. `ab` speaks TLS 1.2: by
1.3, its request would wait for an acknowledgement of its Finished (Nagle), 40 ms.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.handshaking import (  # noqa: E402  (a script: the checkout is on no path before)
    BACKLOG,
    BEFORE_ALL_NS,
    LOOPBACK,
    generate,
    lab_server,
    until_it_listens,
)
from benchmarks.load_generator import make_credential  # noqa: E402
from benchmarks.paired import MIN_PAIRS, spread, table  # noqa: E402
from lab.record.dtypes import CONNECTION  # noqa: E402
from lab.record.rowfile import read_rows  # noqa: E402
from tests.native.build import compile_c  # noqa: E402

DELAY_NS: Final = 5_000_000
ROUND_NS: Final = 30_000_000  # of three handshakes, 10 ms apart
COUNT: Final = 100  # handshakes of one turn
RATE_HZ: Final = 100
LOAD_S: Final = 10
STOP_AT_S: Final = 4.5
STOP_S: Final = 1.0
SLOTS: Final = 2048  # more than ever wait
CLIENTS: Final = 8
MIN_STOPS: Final = 2
MOST_WAIT: Final = 0.9  # of the arrivals; the stop makes some 0.1 of them wait
SEED: Final = 42688


@dataclass(frozen=True)
class Stopped:
    """A second in which a server stood still, CLOCK_MONOTONIC."""

    from_ns: int
    to_ns: int

    def after(self, begun_ns: float, work_ns: float) -> float:
        """When work that begins then is done, since nothing happens meanwhile."""
        begun = self.to_ns if self.from_ns <= begun_ns < self.to_ns else begun_ns
        done = begun + work_ns
        return done + self.to_ns - self.from_ns if begun < self.from_ns <= done else done


def p50(values: NDArray[Any]) -> float:
    return float(np.percentile(values, 50))


@contextmanager
def delaying(program: Path, pem: Path, delay_ns: int, stamps: Path) -> Iterator[tuple[int, int]]:
    """The server of generator_truth.c for as long as the block runs; gives its port and its process id."""
    with socket.create_server((LOOPBACK, 0), backlog=BACKLOG) as listener:
        port = int(listener.getsockname()[1])
        command = [str(program), "serve", str(pem), str(listener.fileno()), str(delay_ns), str(stamps)]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()])
    try:
        until_it_listens(port)
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def stopwatch(program: Path, port: int, begin_ns: int) -> NDArray[np.int64]:
    command = [str(program), "time", str(port), str(COUNT), str(begin_ns), str(ROUND_NS)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return np.array(printed.split(), np.int64)


def delay_turn(program: Path, leaf: bytes, slow: int, plain: int, stamps: Path, turn: int) -> tuple[float, ...]:
    """In ns, each a p50 of response: of the generator, of its twin without the delay, of the stopwatch, and as the
    server's stamps have it; and the delay that these show."""
    arrivals = np.arange(COUNT, dtype=np.int64) * ROUND_NS
    begin_ns = time.monotonic_ns() + BEFORE_ALL_NS * 5
    ours_ns, twin_ns, watch_ns = (begin_ns + (place + turn) % 3 * ROUND_NS // 3 for place in range(3))

    def ours(port: int, at_ns: int) -> float:
        seen = generate(port, leaf, 0, CLIENTS, arrivals_ns=arrivals, begin_ns=at_ns, closes_first=True)
        return p50(seen.operations["ended_ns"] - at_ns - arrivals)

    with ThreadPoolExecutor() as together:
        delayed = together.submit(ours, slow, ours_ns)
        undelayed = together.submit(ours, plain, twin_ns)
        watched = together.submit(stopwatch, program, slow, watch_ns)
        measured = delayed.result(), undelayed.result(), p50(watched.result())
    seen = np.fromfile(stamps, np.int64).reshape(-1, 4)  # accepted, delayed, shaken hands, ready
    seen = seen[np.searchsorted(seen[:, 0], ours_ns + arrivals)]
    return *measured, p50(seen[:, 2] - ours_ns - arrivals), p50(seen[:, 1] - seen[:, 0])


def delay_table(program: Path, folder: Path, turns: int) -> str:
    pem = make_credential(folder, "ec-p256")
    leaf = ssl.PEM_cert_to_DER_cert((folder / "certificate").read_text())
    with (
        delaying(program, pem, DELAY_NS, folder / "delayed") as (slow, _),
        delaying(program, pem, 0, folder / "plain") as (plain, _),
    ):
        measured = [delay_turn(program, leaf, slow, plain, folder / "delayed", turn) for turn in range(turns)]
    delayed, undelayed, watched, server, shown = np.array(measured).T
    rows = [
        [name, f"{np.median(truth) / 1e6:.3f}", spread(ratio)]
        for name, truth, ratio in (
            ("server's stamps and the plan", server, delayed / server),
            ("stopwatch", watched, delayed / watched),
            ("generator without delay, plus the delay", undelayed + shown, delayed / (undelayed + shown)),
            ("generator, a turn before", delayed, delayed[1:] / delayed[:-1]),
        )
    ]
    own_ms, shown_ms = np.median(delayed) / 1e6, np.median(shown) / 1e6
    delays = f"generator's p50 {own_ms:.3f} ms; delay by the server's stamps {shown_ms:.4f} ms"
    head = ["what the p50 should be by", "ms", "generator / it"]
    return f"{table(head, rows)}\n{delays}; {turns} turns of {COUNT} handshakes (middle half)"


class Stopper(threading.Thread):
    """Stops a process for a while, some time after now."""

    def __init__(self, pid: int, at_s: float) -> None:
        super().__init__()
        self._pid, self._at_s = pid, at_s
        self.stopped = Stopped(0, 0)

    def run(self) -> None:
        time.sleep(self._at_s)
        os.kill(self._pid, signal.SIGSTOP)
        while not self._stands():
            pass
        from_ns = time.monotonic_ns()
        time.sleep(STOP_S)
        to_ns = time.monotonic_ns()
        os.kill(self._pid, signal.SIGCONT)
        self.stopped = Stopped(from_ns, to_ns)

    def _stands(self) -> bool:
        return Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def expected_ns(intended: NDArray[np.int64], server: NDArray[Any], stopped: Stopped) -> NDArray[np.float64]:
    """Response of each arrival, first come, first served, by one server.

    `server` holds its rows in the order of accept, which is that of arrival. A service is what lies between accept and
    the end of the handshake, less the stop; then the server says good-bye and accepts again.
    """
    opened, ended = server["opened_ns"], server["ended_ns"]
    stood = (opened < stopped.to_ns) & (ended >= stopped.from_ns)
    overlap = np.minimum(ended, stopped.to_ns) - np.maximum(opened, stopped.from_ns)
    service = ended - opened - np.where(stood, np.maximum(overlap, 0), 0)
    if not stood.any():  # it was in accept, and ran again some time after it was told to: its next stamp says when
        stopped = Stopped(stopped.from_ns, int(opened[opened >= stopped.to_ns].min()))
    waited = intended[1:] < ended[:-1]
    if waited.mean() > MOST_WAIT:
        raise SystemExit("the machine is too busy: its server has hardly ever been found without work")
    reach_ns = p50(
        (opened[1:] - intended[1:])[~waited]
    )  # of a connection, until a server that has nothing to do has it
    bye_ns = p50((opened[1:] - ended[:-1])[waited & (opened[1:] - intended[1:] > 10 * reach_ns)])
    free_ns = 0.0
    response = np.empty(len(intended))
    for place, arrival in enumerate(intended):
        start_ns = max(float(arrival) + reach_ns, free_ns)
        done_ns = stopped.after(start_ns, float(service[place]))
        response[place] = done_ns - float(arrival)
        free_ns = stopped.after(done_ns, bye_ns)
    return response


def stop_open(folder: Path, what: Mapping[str, str | None], leaf: bytes, seed: int) -> tuple[float, float, float]:
    """p99 in ms of response as the generator has it, as queueing has it, and of service."""
    gaps = np.random.default_rng(seed).exponential(1e9 / RATE_HZ, int(RATE_HZ * LOAD_S * 1.5))
    arrivals = np.cumsum(gaps).astype(np.int64)
    arrivals = arrivals[arrivals < LOAD_S * 1_000_000_000]
    with lab_server(folder, 1, what, {}) as (port, children):
        stopper = Stopper(children[0], STOP_AT_S)
        stopper.start()
        seen = generate(port, leaf, LOAD_S, SLOTS, arrivals_ns=arrivals)
        stopper.join()
        file = read_rows(folder / "connections-1.rows", CONNECTION)
        assert file is not None
        expected = expected_ns(seen.begun_ns + arrivals, file.rows, stopper.stopped)
    operations = seen.operations
    assert (operations["intended_ns"] == seen.begun_ns + arrivals).all()
    response = operations["ended_ns"] - operations["intended_ns"]
    service = operations["ended_ns"] - operations["started_ns"]
    return tuple(float(np.percentile(ns, 99)) / 1e6 for ns in (response, expected, service))  # type: ignore[return-value]


def stop_closed(folder: Path, what: Mapping[str, str | None], leaf: bytes) -> float:
    with lab_server(folder, 1, what, {}) as (port, children):
        stopper = Stopper(children[0], STOP_AT_S)
        stopper.start()
        seen = generate(port, leaf, LOAD_S, CLIENTS)
        stopper.join()
    return float(np.percentile(seen.operations["ended_ns"] - seen.operations["started_ns"], 99)) / 1e6


def stop_ab(program: Path, pem: Path, folder: Path) -> float:
    with delaying(program, pem, 0, folder / "ab") as (port, pid):
        stopper = Stopper(pid, STOP_AT_S)
        stopper.start()
        many = ["-t", str(LOAD_S), "-n", "1000000", "-c", str(CLIENTS), "-f", "TLS1.2"]
        printed = subprocess.run(
            ["ab", *many, f"https://{LOOPBACK}:{port}/"], capture_output=True, text=True, check=True
        )
        stopper.join()
    found = re.search(r"^\s*99%\s+(\d+)", printed.stdout, re.MULTILINE)
    if not found:
        raise SystemExit(f"ab printed no percentiles: {printed.stdout}")
    return float(found[1])


def stop_table(program: Path, folder: Path, stops: int) -> str:
    pem = make_credential(folder, "ec-p256")
    certificate = (folder / "certificate").read_text()
    leaf = ssl.PEM_cert_to_DER_cert(certificate)
    what = {"bridge": "software", "version": "1.3", "key": (folder / "key").read_text(), "certificate": certificate}
    opened, closed, by_ab = [], [], []
    for stop in range(stops):
        for name in ("open", "closed"):
            (folder / f"{name}-{stop}").mkdir()
        opened.append(stop_open(folder / f"open-{stop}", what, leaf, SEED + stop))
        closed.append(stop_closed(folder / f"closed-{stop}", what, leaf))
        if shutil.which("ab"):
            by_ab.append(stop_ab(program, pem, folder))
    response, expected, service = np.array(opened).T

    def middle(values: Any) -> str:
        return f"{statistics.median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"

    rows = [
        ["open loop, from the intended instant", middle(response)],
        ["what queueing says", middle(expected)],
        ["open loop, from the connection's start", middle(service)],
        [f"closed loop, {CLIENTS} clients", middle(closed)],
        [f"ab -c {CLIENTS}", middle(by_ab) if by_ab else "is not installed (apache2-utils)"],
    ]
    ratios = response / expected
    shown = f"open loop / queueing: {statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f})"
    return f"{table(['server stopped for 1 s of 10', 'p99, ms'], rows)}\n{shown}; {stops} stops (least to most)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=MIN_PAIRS, help="of the delay, 3 s each")
    parser.add_argument("--stops", type=int, default=7, help="of half a minute each")
    parser.add_argument("--only", choices=("delay", "stop"))
    options = parser.parse_args()
    if options.turns < MIN_PAIRS or options.stops < MIN_STOPS:
        parser.error(f"fewer than {MIN_PAIRS} turns or {MIN_STOPS} stops say little")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = ROOT / "benchmarks" / "generator_truth.c"
        program = compile_c(folder / "truth", source, libraries=("ssl", "crypto"), shared=False)
        if options.only != "stop":
            print(delay_table(program, folder, options.turns), flush=True)
        if options.only != "delay":
            print(stop_table(program, folder, options.stops))
    return 0


if __name__ == "__main__":
    sys.exit(main())
