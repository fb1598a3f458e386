"""What a trial root is told: everything it needs and nothing that it would have to decide.

It travels as JSON through a pipe, because it carries the PIN, which must not stand in a file or on a command line.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal


@dataclass(frozen=True)
class TokenOrder:
    """Where the key is, and how to get at it. `module` is what processes load: the tap, which loads the real module."""

    module: str
    token_label: str
    key_label: str
    pin: str = field(repr=False)
    init_string: str | None = None


@dataclass(frozen=True)
class ContextOrder:
    policy: Literal["shared", "per-process", "reinit"]
    inherit: Literal["sessions", "context"]
    session: Literal["per-thread", "per-process", "pool", "per-operation"]
    pool_size: int
    locking: Literal["os", "none"]


@dataclass(frozen=True)
class TrialOrder:
    """One trial. Times are lengths, except deadline_ns, an instant of CLOCK_MONOTONIC."""

    folder: str
    kind: Literal["prefork", "worker", "threads", "spawn"]
    processes: int
    threads: int
    fork_point: Literal["idle", "threads-busy", "mid-operation"]
    busy_threads: int
    start: Literal["staggered", "herd"]
    workload: Literal["null", "sign", "random", "session-churn"]
    driver: Literal["native", "python-pkcs11"]
    key: str | None
    mechanism: str | None
    token: TokenOrder | None
    context: ContextOrder | None
    open_loop: bool
    arrivals: tuple[int, ...]  # open loop: arrivals of each thread, in the order of arrivals.i64 in the folder
    warmup_ns: int
    duration_ns: int
    capacity: int  # rows of one process
    deadline_ns: int
    seed: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> TrialOrder:
        data = json.loads(text)
        data["token"] = data["token"] and TokenOrder(**data["token"])
        data["context"] = data["context"] and ContextOrder(**data["context"])
        data["arrivals"] = tuple(data["arrivals"])
        return TrialOrder(**data)
