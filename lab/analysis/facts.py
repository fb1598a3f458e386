"""The facts of one trial: everything that later stages need, in a few bytes per operation at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lab.analysis import cold
from lab.analysis.at_token import AtToken
from lab.analysis.course import Course
from lab.analysis.failures import Failure
from lab.analysis.handshakes import HandshakeFacts
from lab.analysis.latency import Latency
from lab.analysis.noise import Noise
from lab.analysis.nonces import NonceFacts
from lab.analysis.outcomes import Outcomes
from lab.analysis.policy import ServerFacts
from lab.analysis.quantiles import QUANTILES, Distribution, in_ms
from lab.analysis.rules.finding import Finding
from lab.analysis.traced import TracedProcess

Series = tuple[NDArray[np.int64], NDArray[np.int32]]


@dataclass(frozen=True)
class SessionFacts:
    """Sessions of a trial; series: for each process, when its number of open sessions changed (ns) and to what."""

    opened: int
    closed: int
    leaked: int
    peak_per_process: int
    peak_total: int
    series: Mapping[int, Series]


@dataclass(frozen=True)
class ProcessFacts:
    """started: workers that came to life; crashed, hung: of all processes; pss_mib: of workers, where it was read."""

    started: int
    crashed: int
    hung: int
    pss_mib: tuple[float, ...]
    workers: int = 0
    failed: int = 0  # workers without a context, or that did not do their part of the load to the end
    generators: int = 0
    generator_cpu_shares: tuple[float, ...] = ()  # of one processor, of each generator where it is known


@dataclass(frozen=True)
class TrialFacts:
    """What one trial showed."""

    number: int
    block: int
    arm: str
    partial: bool
    invalid_because: tuple[str, ...]
    outcomes: Outcomes
    duration_s: float
    done_in_time: int  # operations that ended well within the measured time, whenever they were due
    latency: Latency
    calls: Mapping[str, Distribution]
    cold: Mapping[int, Mapping[str, float]]  # of each worker
    sessions: SessionFacts
    processes: ProcessFacts
    failures: tuple[Failure, ...]
    failures_by_process: tuple[tuple[int, Failure], ...]
    rules: Mapping[str, Finding]
    handshakes: HandshakeFacts | None = None  # None where there were none
    traced: tuple[TracedProcess, ...] = ()  # processes of a traced program
    diagnosis: Mapping[str, Finding] = field(default_factory=dict)  # causes, by name; empty where nobody called PKCS#11
    server: ServerFacts | None = None  # of a real server
    nonces: NonceFacts | None = None  # None where there were no ECDSA signatures to look at
    at_token: AtToken | None = None  # None where nobody called PKCS#11, or a program was traced
    course: Course = field(default_factory=Course)
    noise: Noise | None = None  # None where nobody listened

    @property
    def usable(self) -> bool:
        """Whether its durations and rates may be read: it is whole and valid."""
        return not self.invalid_because and not self.partial

    def figures(self) -> dict[str, float | None]:
        """The figures that arms are compared by, named as in summary.json ("response_ms.p50")."""
        found: dict[str, float | None] = {
            "throughput_hz": self.done_in_time / self.duration_s if self.duration_s > 0 else None,
            "processes.pss_mib_p50": median(self.processes.pss_mib) if self.processes.pss_mib else None,
            "sessions.peak_total": self.sessions.peak_total,
            "sessions.opened": self.sessions.opened,
        }
        for name in ("response", "service", "lag"):
            for quantile, value in in_ms(getattr(self.latency, name)).items():
                found[f"{name}_ms.{quantile}"] = value
        for function, durations in self.calls.items():
            for quantile, value in in_ms(durations, QUANTILES, largest=False).items():
                found[f"pkcs11_ms.{function}.{quantile}"] = value
        if self.handshakes is not None:
            for part, durations in self.handshakes.parts.items():
                found[f"where_ms.{part}.p50"] = in_ms(durations, ("p50",), largest=False)["p50"]
        found |= {f"cold_ms.{step}": value for step, value in cold.medians_ms(self.cold.values()).items()}
        return found
