"""Tokens of the lab's own: made once per run, the golden copy, and copied for each trial to change and to break.

They are made through the module itself, and never with a tool that takes PINs as arguments, which everybody can read.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

from lab.errors import LabFault
from lab.tokens.installed import Installed
from lab.tokens.model import KeyInfo, Prepared, Secret, TokenAccess
from lab.tokens.request import Request, uses_of
from lab.tokens.throwaway import ask, prepared

TOKEN_LABEL: Final = "lab"


class GoldenToken(ABC):
    """What such kinds have in common. The labels of keys are their names; PINs are drawn per run and only in memory."""

    kind: ClassVar[str]
    module: ClassVar[Installed]
    pin_bytes: ClassVar[int] = 8  # in hex twice as many characters
    initial_so_pin: ClassVar[str | None] = None  # with which a new token comes; None: with none
    comes_with_label: ClassVar[bool] = False  # a new token has one, and an empty SO PIN that is let be
    always_asked: ClassVar[bool] = False  # by check(), whatever is wanted, and for the keys that it makes too

    def __init__(self) -> None:
        self._pin = Secret(secrets.token_hex(self.pin_bytes))
        self._golden: Path | None = None

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """See Token. The token that is asked is a new one, and gone afterwards."""
        self._find_parts()
        if mechanisms or decrypt or self.always_asked:
            with tempfile.TemporaryDirectory(prefix="lab-token-", dir=folder) as temporary:
                place = Path(temporary)
                self._lay_out(place)
                request = Request(
                    "offer",
                    str(self.path),
                    TOKEN_LABEL if self.comes_with_label else "",
                    keys=_labels(keys | decrypt) if self.always_asked else {},
                    mechanisms=tuple(sorted(mechanisms)),
                    uses=uses_of(keys, decrypt),
                )
                self._ask(request, place)
        return {}

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """Makes the golden copy in `folder`, with all of the keys. An RSA key takes a second or more."""
        self._find_parts()
        folder.mkdir(mode=0o700)
        self._lay_out(folder)
        request = Request(
            "provision",
            str(self.path),
            TOKEN_LABEL,
            pin=self._pin.reveal(),
            so_pin="" if self.comes_with_label else secrets.token_hex(self.pin_bytes),
            initial_so_pin=self.initial_so_pin,
            initialised=self.comes_with_label,
            keys=_labels(keys | decrypt),
            uses=uses_of(keys, decrypt),
        )
        made = self._make(request, folder)
        self._golden = folder
        return made

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """Copies the golden token into `folder`; the trial's processes may change and break their copy."""
        if self._golden is None:
            raise LabFault(f"restore() of a token of kind {self.kind} before prepare()")
        folder.mkdir(mode=0o700)
        self._copy(self._golden, folder)
        return replace(self._access(folder), key_label=key or "")

    def retire(self) -> None:
        """Removes the golden copy. Trials' copies belong to their trials."""
        if self._golden is not None:
            shutil.rmtree(self._golden, ignore_errors=True)
            self._golden = None

    @property
    def path(self) -> Path:
        """See Token."""
        return self.module.path("token.kind")

    def _find_parts(self) -> None:
        """Raises ScenarioError where something is missing."""
        _ = self.path

    @abstractmethod
    def _lay_out(self, folder: Path) -> None:
        """Puts into `folder`, which is there, what a new token needs to be made in it."""

    @abstractmethod
    def _copy(self, golden: Path, folder: Path) -> None:
        """Puts into `folder`, which is there and empty, what the golden token has."""

    @abstractmethod
    def _access(self, folder: Path) -> TokenAccess:
        """Of a trial to the token in `folder`, which is laid out or copied; of no key yet."""

    def _provisioning(self, folder: Path) -> TokenAccess:
        """Of a process that checks or makes the token."""
        return self._access(folder)

    def _make(self, request: Request, folder: Path) -> Prepared:
        """Does a request to provision in `folder`, which is laid out."""
        return prepared(self._ask(request, folder))

    def _ask(self, request: Request, folder: Path) -> dict[str, Any]:
        """Has a throw-away process do a request to the token in `folder`, with all that the token needs."""
        access = self._provisioning(folder)
        needs = replace(request, init_string=access.init_string, beside=access.beside, mounts=access.mounts)
        return ask(needs, access.environment)


def _labels(keys: frozenset[str]) -> dict[str, str]:
    return {name: name for name in sorted(keys)}
