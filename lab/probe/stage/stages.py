"""The stages by name. Each is a function of a Bench; what it saw is judged elsewhere (lab/probe/lines)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.probe.stage import claims, fork, parent, randomness, sessions, shared, threads
from lab.probe.stage.bench import Bench

Stage = Callable[[Bench], None]

STAGES: Final[Mapping[str, Stage]] = {
    **fork.STAGES,
    **parent.STAGES,
    **shared.STAGES,
    **randomness.STAGES,
    **threads.STAGES,
    **sessions.STAGES,
    **claims.STAGES,
}
