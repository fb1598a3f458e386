"""The token kinds by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.tokens.model import Token, TokenSettings
from lab.tokens.module import Module
from lab.tokens.softhsm import SoftHsm

KINDS: Final[Mapping[str, Callable[[TokenSettings], Token]]] = {
    "softhsm": SoftHsm,
    "module": Module,
}


def open_token(settings: TokenSettings) -> Token:
    """The Token of a [token] table, of a kind that the scenario has checked. Nothing is touched yet."""
    return KINDS[settings.kind](settings)
