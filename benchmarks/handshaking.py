"""What the benchmarks of handshakes share: a server of the lab's in processes of its own, and the lab's generator."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lab.native.generating import Generator, Greeting, Host, Rush
from lab.record.dtypes import CONNECTION, OPERATION
from lab.record.rowfile import read_rows

Version = Literal["1.2", "1.3"]
LOOPBACK: Final = "127.0.0.1"
NAME: Final = "host-0.lab.test"
BACKLOG: Final = 4096
_ROWS: Final = 1 << 20
_PATIENCE_NS: Final = 5_000_000_000
BEFORE_ALL_NS: Final = 20_000_000  # in which all is made that a load needs
_RESET_ON_CLOSE: Final = b"\1\0\0\0\0\0\0\0"


@dataclass(frozen=True)
class Seen:
    """One run of the generator: its rows, place by place, when it began, and what it cost."""

    operations: NDArray[Any]
    connections: NDArray[Any]
    begun_ns: int
    cpu_s: float  # of the generator's thread, user and system

    def rate_hz(self, seconds: float) -> float:
        """Handshakes per second of those that were done in these seconds from the start."""
        return float((self.operations["ended_ns"] < self.begun_ns + seconds * 1e9).sum()) / seconds


def generate(
    port: int,
    certificate: bytes,
    seconds: float,
    slots: int,
    *,
    arrivals_ns: NDArray[np.int64] | None = None,
    begin_ns: int = 0,
    version: Version = "1.3",
    closes_first: bool = False,
) -> Seen:
    """Full handshakes with 127.0.0.1:port: an open loop where there are arrivals (ns from the start), else closed.

    `certificate` is the leaf, DER. It begins at `begin_ns` (CLOCK_MONOTONIC), or at once. A failed handshake ends the
    benchmark.
    """
    with tempfile.TemporaryDirectory() as folder:
        one = Generator(Path(folder), 1, _ROWS)
        one.set(Greeting((Host(NAME, LOOPBACK, port, certificate),), version, closes_first=closes_first))
        one.prepare(slots)
        before = resource.getrusage(resource.RUSAGE_THREAD)
        now = begin_ns or time.monotonic_ns() + BEFORE_ALL_NS
        time.sleep(max(0, now - time.monotonic_ns()) / 1e9)
        where = (arrivals_ns.ctypes.data, len(arrivals_ns)) if arrivals_ns is not None else None
        span_ns = int(seconds * 1e9)
        one.run(Rush(now, 0, span_ns, now + span_ns + _PATIENCE_NS, slots, where))
        after = resource.getrusage(resource.RUSAGE_THREAD)
        one.close()
        operations = read_rows(Path(folder) / "operations-1.rows", OPERATION)
        connections = read_rows(Path(folder) / "connections-1.rows", CONNECTION)
        assert operations is not None
        assert connections is not None
        failed = operations.rows["code"] != 0
        if failed.any() or operations.lost:
            what = np.unique(operations.rows[failed][["layer", "code"]])
            raise SystemExit(f"{failed.sum()} handshakes of {len(failed)} failed, {operations.lost} lost: {what}")
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Seen(operations.rows.copy(), connections.rows.copy(), now, cpu_s)


@contextmanager
def lab_server(
    folder: Path, processes: int, what: Mapping[str, str | None], environment: Mapping[str, str]
) -> Iterator[tuple[int, list[int]]]:
    """The lab's prefork server (benchmarks/prefork.py) for as long as the block runs; gives its port and its children's
    process ids. Its rows are in `folder`."""
    with socket.create_server((LOOPBACK, 0), backlog=BACKLOG) as listener:
        port = int(listener.getsockname()[1])
        program = Path(__file__).with_name("prefork.py")
        command = [sys.executable, str(program), str(folder), str(processes), str(listener.fileno())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # sched(7), autogroup: so it competes with the generator as any other server does
            text=True,
        )
    assert process.stdin
    assert process.stdout
    with process:
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()
        children = [int(word) for word in process.stdout.readline().split()]
        if not children:
            raise SystemExit("the lab's server did not start")
        try:
            yield port, children
        finally:
            process.stdin.close()


def until_it_listens(port: int, patience_s: float = 10) -> None:
    """Returns when a connection, which is reset at once, is accepted."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            if trial.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.01)
    raise SystemExit(f"nothing listens on port {port}")
