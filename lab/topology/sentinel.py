"""What else went on on the machine while a trial was measured: a sentinel, from its release to the end of its load.

It sleeps a millisecond again and again and notes how late it is woken, which the trial's own threads met too. At both
ends it reads what the kernel counts: time of the processors that a hypervisor gave to others (steal), or in which they
had nothing to do (/proc/stat, proc(5)), and time in which some task waited for a processor (/proc/pressure/cpu,
Documentation/accounting/psi.rst of the kernel; not every kernel has it).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from lab.native.sleeping import Sleeper
from lab.record.model import NoiseRecord

_STAT: Final = Path("/proc/stat")
_PRESSURE: Final = Path("/proc/pressure/cpu")
_IDLE, _IOWAIT, _STEAL = 3, 4, 7  # places in the first line of /proc/stat, after its name


@dataclass(frozen=True)
class Counters:
    """Of the whole machine, since it was started: ticks of all processors, and microseconds of pressure."""

    all_ticks: int
    idle_ticks: int
    steal_ticks: int
    waited_us: int | None
    at_ns: int

    @staticmethod
    def now() -> Counters:
        ticks = [int(word) for word in _STAT.read_text().split("\n", 1)[0].split()[1:9]]  # guests are in user
        return Counters(sum(ticks), ticks[_IDLE] + ticks[_IOWAIT], ticks[_STEAL], _waited_us(), time.monotonic_ns())


class Sentinel:
    """begin() when the workers are released, end() when their load has ended; then `noise` is what was found."""

    def __init__(self) -> None:
        self.noise: NoiseRecord | None = None
        self._sleeper: Sleeper | None = None
        self._before: Counters | None = None

    def begin(self) -> None:
        if self._sleeper is None:
            self._before = Counters.now()
            self._sleeper = Sleeper()

    def end(self) -> None:
        """Also where it never began, or has ended already."""
        if self._sleeper is None or self._before is None:
            return
        late_ns = self._sleeper.stop()
        self.noise = noise(self._before, Counters.now(), late_ns)
        self._sleeper = self._before = None


def noise(before: Counters, after: Counters, late_ns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> NoiseRecord:
    """What two readings of the counters and the sleeps between them amount to; shares are None of no time at all."""
    ticks = after.all_ticks - before.all_ticks
    elapsed_us = (after.at_ns - before.at_ns) / 1e3
    pressure = None
    if before.waited_us is not None and after.waited_us is not None and elapsed_us > 0:
        pressure = min(1.0, (after.waited_us - before.waited_us) / elapsed_us)
    p50, p99, most = np.quantile(late_ns, [0.5, 0.99, 1], method="inverted_cdf") if late_ns.size else (0, 0, 0)
    return NoiseRecord(
        sleeps=int(late_ns.size),
        late_p50_ns=int(p50),
        late_p99_ns=int(p99),
        late_max_ns=int(most),
        steal_share=(after.steal_ticks - before.steal_ticks) / ticks if ticks > 0 else None,
        idle_share=(after.idle_ticks - before.idle_ticks) / ticks if ticks > 0 else None,
        pressure_share=pressure,
    )


def _waited_us() -> int | None:
    """Microseconds in which at least one task waited for a processor; None where the kernel does not count them."""
    try:
        some = _PRESSURE.read_text().split("\n", 1)[0]
    except OSError:
        return None
    return int(some.rpartition("total=")[2])
