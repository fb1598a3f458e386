"""What the operation loops cost: their signatures per second, against a bare loop of C_SignInit and C_Sign.

    python benchmarks/loop_cost.py [--pairs 15] [--seconds 0.3] [--keys ec-p256,...] [--shapes 1x1,2x1,...]

Bare loop (benchmarks/loop_cost.c), the lab's loop (drive.c), the lab's loop with the tap before the module, and the
bare loop again (what noise alone does) take turns in the same processes and threads, on the same sessions of one
mapping of SoftHSM; the order rotates. A shape is PROCESSES x THREADS. Reported for each shape: the ratios to the bare
loop of the same turn, as the median and the middle half: by the clock, and by the processor time of the signers,
which other work on the machine disturbs less, but which leaves out waiting for the module's locks.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import MIN_PAIRS, spread, table  # noqa: E402  (a script: the checkout is on no path before)
from lab.native import library  # noqa: E402
from lab.native.cryptoki import Cryptoki  # noqa: E402
from lab.native.loops import SESSION_OWN, Drive, Load, Work, wait_until  # noqa: E402
from lab.record.mechanisms import SIGNATURE_BYTES, mechanism  # noqa: E402
from lab.tokens.model import TokenAccess  # noqa: E402
from lab.tokens.softhsm import SoftHsm  # noqa: E402
from tests.native.build import compile_c  # noqa: E402

VARIANTS: Final = ("bare", "loops", "tapped", "again")  # "again" is the bare loop once more: what noise alone does
MECHANISMS: Final = {"ec-p256": "ECDSA", "rsa-2048": "RSA_PKCS"}
HEAD_START_NS: Final = 5_000_000
ROWS: Final = 1 << 24
CKA_CLASS, CKA_LABEL, CKO_PRIVATE_KEY = 0x0, 0x3, 3


@dataclass(frozen=True)
class Settings:
    """A [token] table, as far as SoftHSM reads it."""

    kind: str = "softhsm"
    reset_on_fork: bool = False


@dataclass(frozen=True)
class Turn:
    """One variant for a while."""

    variant: str
    release_ns: int
    duration_ns: int


@dataclass(frozen=True)
class Speed:
    """Signatures per second by the clock, how many there were, and the processor time that they took."""

    hz: float = 0.0
    count: int = 0
    cpu_ns: int = 0

    @property
    def per_cpu_second(self) -> float:
        return self.count / self.cpu_ns * 1e9


def together(speeds: Iterable[Speed]) -> Speed:
    """Of several threads or processes at the same time."""
    speeds = list(speeds)
    hz = sum(speed.hz for speed in speeds)
    return Speed(hz, sum(speed.count for speed in speeds), sum(speed.cpu_ns for speed in speeds))


class Signer:
    """One process with a context of its own, a session for each thread, and all ways to sign."""

    def __init__(self, access: TokenAccess, key: str, threads: int, process: int, bare: Path, folder: Path) -> None:
        module = Cryptoki(access.module)
        module.initialize("os")
        slot = module.find_token(access.token_label) or 0
        self._sessions = [module.open_session(slot) for _ in range(threads)]
        module.login(self._sessions[0], access.pin.reveal())
        (self._key,) = module.find_objects(self._sessions[0], {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: key}, most=1)
        self._how = mechanism(MECHANISMS[key], key)
        self._functions = {"loops": module.function_list, "tapped": Cryptoki(library("tap")).function_list}
        self._bare = ctypes.CDLL(str(bare)).bare_sign
        u64 = ctypes.c_ulong
        self._bare.argtypes = [ctypes.c_void_p, u64, u64, u64, ctypes.c_char_p, u64, ctypes.c_void_p]
        self._bare.restype = ctypes.c_long
        self._drive = Drive(folder, process, ROWS, SIGNATURE_BYTES[key])
        self._work = Work(
            "sign",
            sessions=tuple(self._sessions),
            session_use=SESSION_OWN,
            key=self._key,
            mechanism=self._how.number,
            prefix=self._how.prefix,
            digest_bytes=self._how.data_bytes,
            seed=42688,
        )

    def take(self, turn: Turn, stop: int) -> Speed:
        """What all threads did together. `stop` is the address of the flag of the bare loop."""
        speeds = [Speed()] * len(self._sessions)
        if turn.variant in self._functions:
            self._drive.set(replace(self._work, function_list=self._functions[turn.variant]))
        load = Load(turn.release_ns, 0, turn.duration_ns, turn.release_ns + turn.duration_ns)
        data = self._how.prefix + bytes(range(self._how.data_bytes))

        def sign(thread: int) -> int:
            if turn.variant in self._functions:
                return self._drive.run(thread, load)
            session, number = self._sessions[thread], self._how.number
            return int(self._bare(self._functions["loops"], session, self._key, number, data, len(data), stop))

        def timed(thread: int) -> None:
            wait_until(turn.release_ns)
            started_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
            count = sign(thread)
            used_ns = time.thread_time_ns() - cpu_ns
            speeds[thread] = Speed(count / (time.monotonic_ns() - started_ns) * 1e9, count, used_ns)

        threads = [threading.Thread(target=timed, args=(thread,)) for thread in range(len(speeds))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return together(speeds)


def serve(make: Callable[[], Signer], orders: Connection, stop: int) -> None:
    signer = make()
    orders.send(Speed())
    while (turn := orders.recv()) is not None:
        orders.send(signer.take(turn, stop))


def measure(
    access: TokenAccess, key: str, shape: tuple[int, int], options: argparse.Namespace, bare: Path, folder: Path
) -> list[dict[str, Speed]]:
    """The speed of all processes together, by variant, one dict for each turn of all."""
    processes, threads = shape
    flag = mmap.mmap(-1, mmap.PAGESIZE)
    stop = ctypes.c_int.from_buffer(flag)
    fork = multiprocessing.get_context("fork")  # this process has mapped no module
    children, pipes = [], []
    for process in range(1, processes + 1):
        mine, theirs = fork.Pipe()

        def make(process: int = process) -> Signer:
            return Signer(access, key, threads, process, bare, folder)

        child = fork.Process(target=serve, args=(make, theirs, ctypes.addressof(stop)))
        child.start()
        theirs.close()
        mine.recv()  # one login at a time: SoftHSM loses its token in a herd
        children.append(child)
        pipes.append(mine)

    def take(variant: str) -> Speed:
        stop.value = 0
        turn = Turn(variant, time.monotonic_ns() + HEAD_START_NS, round(options.seconds * 1e9))
        for pipe in pipes:
            pipe.send(turn)
        time.sleep((turn.release_ns + turn.duration_ns - time.monotonic_ns()) / 1e9)
        stop.value = 1
        return together(pipe.recv() for pipe in pipes)

    for variant in VARIANTS:
        take(variant)  # not counted: caches, and files that grow
    turns = []
    for pair in range(options.pairs):
        order = [VARIANTS[(pair + place) % len(VARIANTS)] for place in range(len(VARIANTS))]
        turns.append({variant: take(variant) for variant in order})
    for child, pipe in zip(children, pipes, strict=True):
        pipe.send(None)
        child.join()
    return turns


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=MIN_PAIRS)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn of one variant")
    parser.add_argument("--keys", default="ec-p256,rsa-2048")
    parser.add_argument("--shapes", default="1x1,2x1,4x1,1x2,1x4", help="PROCESSESxTHREADS")
    options = parser.parse_args()
    if options.pairs < MIN_PAIRS:
        parser.error(f"a median over fewer than {MIN_PAIRS} pairs says little")
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",")]
    keys = options.keys.split(",")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bare = compile_c(folder / "bare.so", ROOT / "benchmarks" / "loop_cost.c")
        token = SoftHsm(Settings())  # type: ignore[arg-type]
        token.prepare(frozenset(keys), folder / "golden")
        for key in keys:
            for processes, threads in shapes:
                private = folder / f"{key}-{processes}x{threads}"
                private.mkdir()
                access = token.restore(private / "token", key)
                os.environ |= dict(access.environment)
                os.environ |= {"LAB_TAP_MODULE": str(access.module), "LAB_TAP_DIR": str(private)}
                turns = measure(access, key, (processes, threads), options, bare, private)
                bare_hz = statistics.median(turn["bare"].hz for turn in turns)
                by_clock = [spread([turn[one].hz / turn["bare"].hz for turn in turns]) for one in VARIANTS[1:]]
                by_cpu = [
                    spread([turn[one].per_cpu_second / turn["bare"].per_cpu_second for turn in turns])
                    for one in VARIANTS[1:]
                ]
                rows.append([f"{key}, {processes} x {threads}", "clock", f"{bare_hz:,.0f}", *by_clock])
                rows.append(["", "processor", "", *by_cpu])
                print(*rows[-2], *rows[-1][1:], sep="  ", file=sys.stderr, flush=True)
    head = ["key, processes x threads", "time", "bare loop, 1/s", "loop / bare", "with the tap / bare", "bare / bare"]
    print(table(head, rows))
    print(f"median of {options.pairs} turns of {options.seconds} s each (middle half)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
