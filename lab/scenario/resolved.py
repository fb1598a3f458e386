"""What a scenario file resolves to: arms with every default in its place, and the Scenario that they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from lab.errors import ScenarioError
from lab.scenario.models import (
    ARM_PATTERN,
    NAME_PATTERN,
    Closed,
    Context,
    Load,
    RealServer,
    Scalar,
    Timeout,
    Tls,
    Token,
    Topology,
    Workload,
)


class Arm(Closed):
    """One combination that a scenario measures, every default resolved."""

    name: str = Field(pattern=ARM_PATTERN)
    token: Token | None  # None: the null workload, the bridge software, an external server
    topology: Topology | None  # None: an external server
    context: Context | None  # None: as for token
    workload: Workload
    tls: Tls | None = None  # None: all but handshakes
    server: RealServer | None = None  # None: all but httpd, nginx and stunnel
    load: Load
    timeout_s: Timeout

    @property
    def worker_threads(self) -> int:
        """Threads of all worker processes together; 0 for an external server."""
        return 0 if self.topology is None else self.topology.processes * self.topology.threads

    @property
    def streams(self) -> int:
        """How many parts the arrivals are dealt to: who begins operations, a generator or a worker thread."""
        return self.load.generators or self.worker_threads


class Scenario(Closed):
    """A validated scenario. `margin` maps metrics to fractions, `expect` paths of summary.json to values."""

    name: str = Field(pattern=NAME_PATTERN)
    question: str
    seed: int
    blocks: int | Literal["auto"]
    timeout_s: float | None  # as written for all arms; each arm has its own, resolved
    margin: Mapping[str, float]
    expect: Mapping[str, Scalar]
    arms: tuple[Arm, ...] = Field(min_length=1)
    skip_unusable: bool = False
    skipped: Mapping[str, str] = Field(default_factory=dict)  # arms that were left out on this machine, and why

    def without(self, reasons: Mapping[str, str]) -> Scenario:
        """The scenario without these arms (name -> reason), and without what is expected of them."""
        gone = tuple(f"arms.{name}." for name in reasons)
        return self.model_copy(
            update={
                "arms": tuple(arm for arm in self.arms if arm.name not in reasons),
                "expect": {path: value for path, value in self.expect.items() if not path.startswith(gone)},
                "skipped": {**self.skipped, **reasons},
            }
        )

    def to_json(self) -> dict[str, Any]:
        """What scenario.json holds: all of it, except that environment variables keep their names only."""
        data = self.model_dump(mode="json")
        for arm in data["arms"]:
            if arm["token"] is not None:
                arm["token"]["environment"] = sorted(arm["token"]["environment"])
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Scenario:
        """Read back to_json's result; environment variables come back with empty values.

        Raises ScenarioError where the data are no scenario of this version.
        """
        try:
            arms = [dict(arm) for arm in data["arms"]]
            for arm in arms:
                if arm["token"] is not None:
                    arm["token"] = {**arm["token"], "environment": dict.fromkeys(arm["token"]["environment"], "")}
            return Scenario.model_validate_json(json.dumps({**data, "arms": arms}))
        except ValidationError as error:
            key = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise ScenarioError(f"scenario.json: {key}: not as this version of the lab writes it") from None
        except (KeyError, TypeError, ValueError):
            raise ScenarioError("scenario.json: arms: not as this version of the lab writes them") from None
