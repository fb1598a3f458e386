"""The seam of tokens: what a token kind does (Token), from what settings, and what a trial gets of it (TokenAccess)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.native.cryptoki import LibraryInfo, TokenInfo
from lab.record.order import BesideOrder


class Secret:
    """A PIN. It shows itself in no repr, str, f-string, pickle or traceback; only reveal() gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled: reveal() it where it must travel")


@dataclass(frozen=True)
class TokenAccess:
    """All that a process of a trial needs to use the token. The PIN travels by pipe, never in an argument or a file."""

    module: Path
    token_label: str
    pin: Secret
    key_label: str  # "" where the workload uses no key
    environment: Mapping[str, str]  # for the trial's processes, on top of the lab's own
    init_string: str | None = None
    beside: tuple[BesideOrder, ...] = ()  # programs that the token needs while a trial runs
    mounts: tuple[tuple[str, str], ...] = ()  # folders that lie over others for the trial alone: source, target
    root_mounts: tuple[tuple[str, str], ...] = ()  # those of `mounts` that a program does without unless it is root's


@dataclass(frozen=True)
class KeyInfo:
    """A private key of the token, with its public half as a PEM SubjectPublicKeyInfo."""

    kind: str  # ec-p256 | ec-p384 | rsa-2048 | rsa-3072 | rsa-4096
    label: str
    public_pem: str
    mechanisms: tuple[str, ...]  # signing mechanisms of record.names that the token offers and that fit the key


@dataclass(frozen=True)
class Prepared:
    """What the throw-away process saw of the token; for the manifest, and for verifying signatures."""

    info: LibraryInfo  # of the module
    token: TokenInfo
    keys: Mapping[str, KeyInfo]  # by name: ec-p256, or, where an arm has several of them, ec-p256-0, ec-p256-1, ...


class TokenSettings(Protocol):
    """The [token] table of a scenario. Each kind reads its own keys; None stands for a key that was not given."""

    @property
    def kind(self) -> str: ...
    @property
    def over(self) -> str | None: ...
    @property
    def reset_on_fork(self) -> bool | None: ...
    @property
    def resource_manager(self) -> bool | None: ...
    @property
    def path(self) -> str | Path | None: ...
    @property
    def token_label(self) -> str | None: ...
    @property
    def pin_env(self) -> str | None: ...
    @property
    def pin_file(self) -> str | Path | None: ...
    @property
    def key_label(self) -> str | None: ...
    @property
    def init_string(self) -> str | None: ...
    @property
    def environment(self) -> Mapping[str, str]: ...
    @property
    def provision(self) -> bool | None: ...
    @property
    def read_write(self) -> bool | None: ...


class Token(Protocol):
    """One token of a run: prepare() once, restore() before each trial, retire() at the end, also after a failure."""

    @property
    def kind(self) -> str: ...

    @property
    def path(self) -> Path:
        """The PKCS#11 library's file. Raises ScenarioError where it is not there."""

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """Raises ScenarioError where a run cannot work that signs with `keys` and decrypts (RSA_PKCS) with `decrypt`.

        Both hold names of keys (lab.tokens.keys.key_names); `mechanisms` are pairs of key kind and signing mechanism.
        Changes nothing on the token; temporary files go to `folder` and are gone afterwards. Gives the keys, by name,
        that had to be there and were looked at; none where the lab makes them.
        """

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """Makes the token ready in `folder` (made here, mode 0700). Raises ScenarioError or LabFault.

        `keys` and `decrypt` are as for check(); Prepared has those of both.
        """

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """The token as prepare() left it, with its files, if any, in `folder` (made here, mode 0700).

        `key` is the name of the key whose label the access has; without a number it is what numbered labels begin with.
        """

    def retire(self) -> None:
        """Takes away what prepare() put on a token that outlives the run. Idempotent."""
