"""What must hold of the tokens before a scenario starts: parts installed, PIN right, keys there, mechanisms offered."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from lab.errors import ScenarioError
from lab.tokens.keys import mechanisms_for
from lab.tokens.kinds import open_token
from lab.tokens.model import TokenSettings


class WorkloadSettings(Protocol):
    """The [workload] table, as far as tokens are concerned. Key and mechanism are None where no key is used."""

    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str | None: ...
    @property
    def mechanism(self) -> str | None: ...


class ArmSettings(Protocol):
    """One arm, as far as tokens are concerned. `token` is not looked at for the null workload."""

    @property
    def name(self) -> str: ...
    @property
    def token(self) -> TokenSettings | None: ...
    @property
    def workload(self) -> WorkloadSettings: ...


def check(arms: Iterable[ArmSettings], file: str, folder: Path | None = None) -> None:
    """Raises ScenarioError, `file: arm "a": key: message`, at the first thing that cannot work. Changes no token.

    What a token needs for that is made in `folder` (default: where temporary files go) and taken away.
    Arms with the same [token] table are looked at together, so that a real HSM sees one login, not one per arm.
    """
    for settings, group in _by_token(arms):
        keys = frozenset(arm.workload.key for arm in group if arm.workload.key)
        mechanisms = frozenset((w.key, w.mechanism) for w in (arm.workload for arm in group) if w.key and w.mechanism)
        try:
            for key, mechanism in sorted(mechanisms):
                _check_pair(key, mechanism)
            open_token(settings).check(keys, mechanisms, folder)
        except ScenarioError as error:
            raise ScenarioError(f'{file}: arm "{group[0].name}": {error}') from None


def _check_pair(key: str, mechanism: str) -> None:
    allowed = mechanisms_for(key)
    if mechanism not in allowed:
        raise ScenarioError(
            f"workload.mechanism: {mechanism} does not sign with a key of kind {key}; allowed: {', '.join(allowed)}"
        )


def _by_token(arms: Iterable[ArmSettings]) -> list[tuple[TokenSettings, list[ArmSettings]]]:
    groups: list[tuple[TokenSettings, list[ArmSettings]]] = []
    for arm in arms:
        if arm.workload.kind == "null" or arm.token is None:
            continue
        for settings, group in groups:
            if settings == arm.token:
                group.append(arm)
                break
        else:
            groups.append((arm.token, [arm]))
    return groups
