"""The token kinds by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.tokens.model import Token, TokenSettings
from lab.tokens.module import Module
from lab.tokens.nss import Nss
from lab.tokens.p11kit import P11KitProxy, P11KitRemote
from lab.tokens.softhsm import SoftHsm

KINDS: Final[Mapping[str, Callable[[TokenSettings], Token]]] = {
    "softhsm": SoftHsm,
    "nss": Nss,
    "p11kit-proxy": P11KitProxy,
    "p11kit-remote": P11KitRemote,
    "module": Module,
}

NOT_FOR_ROOT: Final = frozenset({"p11kit-proxy"})
"""Kinds whose access is `unprivileged`: root cannot use them."""


def open_token(settings: TokenSettings) -> Token:
    """The Token of a [token] table, of a kind that the scenario has checked. Nothing is touched yet."""
    return KINDS[settings.kind](settings)
