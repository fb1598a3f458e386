"""What to run: TOML files to frozen, validated scenarios. Pure.

The models need pydantic, which takes longer to import than `--help` may take, so they are imported at first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.scenario.models import Context, Intruders, Load, RealServer, Tls, Token, Topology, Workload
    from lab.scenario.resolved import Arm, Scenario

__all__ = [
    "Arm",
    "Context",
    "Intruders",
    "Load",
    "RealServer",
    "Scenario",
    "Tls",
    "Token",
    "Topology",
    "Workload",
    "parse",
    "schema",
]


def parse(text: str, file: str, overrides: Sequence[str] = ()) -> Scenario:
    """The Scenario that a file's text and KEY=VALUE overrides say; ScenarioError, of one line, where they say none."""
    from lab.scenario.parsing import parse

    return parse(text, file, overrides)


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of scenario files as they are written."""
    from copy import deepcopy

    from lab.scenario.json_schema import schema

    return deepcopy(schema())


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lab.scenario import models, resolved

        return getattr(resolved if name in ("Arm", "Scenario") else models, name)
    raise AttributeError(name)
