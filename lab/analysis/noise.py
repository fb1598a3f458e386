"""Trials that something else disturbed: flagged with reasons, never dropped.

What the sentinel notes (lab.topology.sentinel) is the load of the trial itself too: where it keeps all processors busy,
threads wait for each other. A trial's own load is that of the other trials of its arm, so what a trial is judged by is
mostly how far it stands out from their median; without three of them nothing can stand out. By themselves count time
that a hypervisor stole, and sleeps that end late though there were idle processors to end them on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from lab.record.model import TrialRecord

STEAL: Final = 0.01
LATE_MS: Final = 1.0  # as long as the sleep
IDLE: Final = 0.25
PRESSURE: Final = 0.25
INVOLUNTARY_HZ: Final = 50.0
TIMES: Final = 3.0
LEAST_TRIALS: Final = 3


@dataclass(frozen=True)
class Noise:
    """What a trial shows of its surroundings.

    late_p99_ms, late_max_ms: how much later than it asked for the sentinel was woken; None where it did not sleep.
    Shares as in NoiseRecord. involuntary_hz: how often a second a worker was taken off a processor, on average.
    """

    late_p99_ms: float | None
    late_max_ms: float | None
    steal_share: float | None
    idle_share: float | None
    pressure_share: float | None
    involuntary_hz: float | None


def of_trial(record: TrialRecord) -> Noise | None:
    """None of a trial that has no sentinel's record."""
    found = record.noise
    if found is None:
        return None
    counted = [p.involuntary for p in record.processes if p.role == "worker" and p.involuntary is not None]
    load_s = (record.warmup_ns + record.duration_ns) / 1e9
    return Noise(
        late_p99_ms=found.late_p99_ns / 1e6 if found.sleeps else None,
        late_max_ms=found.late_max_ns / 1e6 if found.sleeps else None,
        steal_share=found.steal_share,
        idle_share=found.idle_share,
        pressure_share=found.pressure_share,
        involuntary_hz=sum(counted) / len(counted) / load_s if counted and load_s > 0 else None,
    )


def disturbed(trials: Sequence[tuple[int, Noise | None]]) -> dict[int, str]:
    """Why a trial is noisy, by its number, of the trials of one arm; those that are not are not in it."""
    known = [(number, noise) for number, noise in trials if noise is not None]
    every = [noise for _, noise in known]
    late = _usual(every, lambda noise: noise.late_p99_ms)
    pressure = _usual(every, lambda noise: noise.pressure_share)
    involuntary = _usual(every, lambda noise: noise.involuntary_hz)
    found = {number: "; ".join(_reasons(noise, late, pressure, involuntary)) for number, noise in known}
    return {number: reasons for number, reasons in found.items() if reasons}


def _reasons(noise: Noise, late: float | None, pressure: float | None, involuntary: float | None) -> list[str]:
    found = []
    if noise.steal_share is not None and noise.steal_share > STEAL:
        found.append(f"{100 * noise.steal_share:.2g} % of the processors' time was stolen")
    if noise.late_p99_ms is not None and noise.late_p99_ms > LATE_MS:
        told = f"sleeps of 1 ms ended {noise.late_p99_ms:.2g} ms late at p99"
        if noise.idle_share is not None and noise.idle_share >= IDLE:
            found.append(f"{told}, with processors idle {100 * noise.idle_share:.0f} % of the time")
        elif late is not None and noise.late_p99_ms > TIMES * late:
            found.append(f"{told}, in its arm usually {late:.2g} ms")
    if noise.pressure_share is not None and pressure is not None and noise.pressure_share > pressure + PRESSURE:
        waited, usually = 100 * noise.pressure_share, 100 * pressure
        found.append(f"tasks waited for a processor {waited:.0f} % of the time, in its arm usually {usually:.0f} %")
    often = noise.involuntary_hz
    if often is not None and involuntary is not None and often > max(INVOLUNTARY_HZ, TIMES * involuntary):
        found.append(f"workers were interrupted {often:.0f} times a second, in its arm usually {involuntary:.0f}")
    return found


def _usual(every: Sequence[Noise], of: Callable[[Noise], float | None]) -> float | None:
    """The median over trials; None of fewer than three."""
    values = [value for value in map(of, every) if value is not None]
    return median(values) if len(values) >= LEAST_TRIALS else None
