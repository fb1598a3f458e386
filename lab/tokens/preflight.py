"""What must hold of the tokens before a scenario starts: parts installed, PIN right, keys there, mechanisms offered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError
from lab.tokens.certificates import read_fitting
from lab.tokens.keys import mechanisms_for
from lab.tokens.kinds import open_token
from lab.tokens.model import KeyInfo, TokenSettings
from lab.tokens.module import Module
from lab.tokens.needs import ArmSettings, Needs, keys_of
from lab.tokens.p11kit import CLIENT

_ROOT: Final = 0


def unusable(arms: Iterable[ArmSettings], folder: Path | None = None) -> dict[str, str]:
    """The arms whose token kind does not work on this machine, or not for this user: name -> reason, with its key.

    A module is none of them: it is the user's, so that it is missing is a mistake.
    """
    found: dict[str, str] = {}
    for settings, group in _by_token(arms):
        token = open_token(settings)
        if isinstance(token, Module):
            continue
        try:
            token.check(frozenset(), frozenset(), folder)
        except ScenarioError as error:
            found |= {arm.name: str(error) for arm in group}
            continue
        for arm in group:
            try:
                _check_broker(arm)
            except ScenarioError as error:
                found[arm.name] = str(error)
    return found


def check(arms: Iterable[ArmSettings], file: str, folder: Path | None = None) -> None:
    """Raises ScenarioError, `file: arm "a": key: message`, at the first thing that cannot work. Changes no token.

    What a token needs for that is made in `folder` (default: where temporary files go) and taken away.
    Arms with the same [token] table are looked at together, so that a real HSM sees one login, not one per arm.
    """
    for settings, group in _by_token(arms):
        for arm in group:
            try:
                _check_broker(arm)
            except ScenarioError as error:
                raise ScenarioError(f'{file}: arm "{arm.name}": {error}') from None
        needs = Needs.of(group)
        try:
            for key, mechanism in sorted(needs.mechanisms):
                _check_pair(key, mechanism)
            token = open_token(settings)
            found = token.check(needs.sign, needs.mechanisms, folder, needs.decrypt)
            if isinstance(token, Module) and os.geteuid() == _ROOT:
                for user in sorted({arm.server.user for arm in group if arm.server and arm.server.user}):
                    token.check_as(user)
        except ScenarioError as error:
            raise ScenarioError(f'{file}: arm "{group[0].name}": {_of_handshakes(str(error), group)}') from None
        for arm in group:
            try:
                check_certificate(arm, found)
            except ScenarioError as error:
                raise ScenarioError(f'{file}: arm "{arm.name}": {error}') from None


def check_certificate(arm: ArmSettings, keys: Mapping[str, KeyInfo]) -> None:
    """Raises ScenarioError where the arm's own certificate is not for its key, as far as this is among `keys`."""
    for name in keys_of(arm):
        if arm.tls is not None and arm.tls.certificate is not None and name in keys:
            read_fitting(arm.tls.certificate, keys[name].public_pem, keys[name].label)


def _of_handshakes(message: str, group: list[ArmSettings]) -> str:
    """A message on a mechanism that no arm gives itself, with the key that it follows from."""
    given = "workload.mechanism: "
    if message.startswith(given) and not any(arm.workload.mechanism for arm in group):
        return f"workload.key: handshakes with it cannot be signed: {message.removeprefix(given)}"
    return message


def _check_broker(arm: ArmSettings) -> None:
    """Whoever talks to a broker does so through p11-kit's client module."""
    if arm.context is not None and arm.context.policy == "broker":
        CLIENT.path("context.policy: broker")


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
