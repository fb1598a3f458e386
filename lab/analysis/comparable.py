"""Whether two runs asked the same: which keys of their resolved scenarios, and of their manifests, differ.

The question must be the same: what each arm did, with which load, key and mechanism, in which order of arrivals (the
seed), and by which margins it is judged. Where it was asked may differ, and is told: the machine, the module behind
the token, versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_MAY_DIFFER: Final = (
    *("name", "question", "blocks", "expect", "timeout_s", "skipped", "written"),
    *(f"token.{key}" for key in ("kind", "over", "path", "token_label", "pin_env", "pin_file", "key_label")),
    *("token.init_string", "token.environment", "token.provision", "token.resource_manager", "token.read_write"),
    *("tls.bridge_library", "tls.host", "tls.port", "tls.trust", "tls.certificate", "server.user"),
)
"""Keys of a scenario, or of an arm, and all below them, that say where and not what."""

_NOT_TOLD: Final = ("expect", "written", "timeout_s")
_TOLD_OF_MANIFEST: Final = ("machine", "versions", "native_sha256", "tokens")


@dataclass(frozen=True)
class Difference:
    """One key with its values in the two runs; None where a run does not have it."""

    key: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.key} ({_said(self.first)} and {_said(self.second)})"


@dataclass(frozen=True)
class Scenarios:
    """arms: names of those in both, in the first run's order. forbidden, allowed: what differs in these and around.

    only_first, only_second: arms that the other run does not have.
    """

    arms: tuple[str, ...]
    forbidden: tuple[Difference, ...]
    allowed: tuple[Difference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def scenarios(first: Mapping[str, Any], second: Mapping[str, Any]) -> Scenarios:
    """What differs between two resolved scenarios. Raises KeyError or TypeError where one is none."""
    ours, theirs = _arms(first), _arms(second)
    shared = tuple(name for name in ours if name in theirs)
    found = _differences("", _without_arms(first), _without_arms(second))
    forbidden = [each for each in found if not _may_differ(each.key)]
    allowed = [each for each in found if _may_differ(each.key) and each.key.partition(".")[0] not in _NOT_TOLD]
    for name in shared:
        for each in _differences("", ours[name], theirs[name]):
            told = Difference(f"arms.{name}.{each.key}", each.first, each.second)
            if not _may_differ(each.key):
                forbidden.append(told)
            elif each.key not in _NOT_TOLD:
                allowed.append(told)
    return Scenarios(
        shared,
        tuple(forbidden),
        tuple(allowed),
        tuple(name for name in ours if name not in theirs),
        tuple(name for name in theirs if name not in ours),
    )


def manifests(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What differs between the machines, versions and modules of two runs."""
    return tuple(
        each
        for each in _differences("", _told(first), _told(second))
        if not each.key.startswith("native_sha256.") or None not in (each.first, each.second)  # a library of one only
    )


def _told(manifest: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: manifest.get(name) for name in _TOLD_OF_MANIFEST}
    if isinstance(found["tokens"], list):
        found["tokens"] = {str(place): token for place, token in enumerate(found["tokens"])}
    return found


def _arms(scenario: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    arms = scenario["arms"]
    if isinstance(arms, Mapping):
        return dict(arms)
    return {arm["name"]: arm for arm in arms}


def _without_arms(scenario: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in scenario.items() if key != "arms"}


def _may_differ(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in _MAY_DIFFER)


def _differences(above: str, first: Any, second: Any) -> list[Difference]:
    if isinstance(first, Mapping) or isinstance(second, Mapping):
        ours = first if isinstance(first, Mapping) else {}
        theirs = second if isinstance(second, Mapping) else {}
        keys = dict.fromkeys([*ours, *theirs])
        return [
            each
            for key in keys
            for each in _differences(f"{above}.{key}" if above else str(key), ours.get(key), theirs.get(key))
        ]
    if first == second or (not first and not second):  # a key that an earlier version did not have yet
        return []
    return [Difference(above, first, second)]


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value)
