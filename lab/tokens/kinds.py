"""The token kinds by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.tokens.model import Token, TokenSettings
from lab.tokens.module import Module
from lab.tokens.nss import Nss
from lab.tokens.opencryptoki import OpenCryptoki
from lab.tokens.p11kit import P11KitProxy, P11KitRemote
from lab.tokens.softhsm import SoftHsm
from lab.tokens.tpm2 import Tpm2

KINDS: Final[Mapping[str, Callable[[TokenSettings], Token]]] = {
    "softhsm": SoftHsm,
    "tpm2": Tpm2,
    "nss": Nss,
    "opencryptoki": OpenCryptoki,
    "p11kit-proxy": lambda settings: P11KitProxy(_behind(settings)),
    "p11kit-remote": lambda settings: P11KitRemote(_behind(settings)),
    "module": Module,
}


def _behind(settings: TokenSettings) -> Token:
    """The token behind p11-kit."""
    return KINDS[settings.over or "softhsm"](settings)


def open_token(settings: TokenSettings) -> Token:
    """The Token of a [token] table, of a kind that the scenario has checked. Nothing is touched yet."""
    return KINDS[settings.kind](settings)
