"""What `lab probe` is asked: its options, checked, as settings of a token and a choice of lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from lab.errors import ScenarioError
from lab.probe.line import Group, Line
from lab.scenario import Token
from lab.tokens.keys import KEYS
from lab.tokens.kinds import KINDS

OWN_TOKENS: Final = tuple(kind for kind in KINDS if kind != "module")
_MOST_SESSIONS: Final = {"token": 1024, "module": 64}
"""Defaults: a token that is somebody's may have others who need sessions."""
_SESSIONS: Final = range(2, 65_537)
_LEAST_S: Final = 5.0
_OF_MODULES: Final = (
    "token_label",
    "pin_env",
    "pin_file",
    "key_label",
    "init_string",
    "environment",
    "read_write",
    "provision",
)
_KEY: Final = "ec-p256"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Options:
    """As on the command line; None, False and () where not given."""

    token: str | None = None
    over: str | None = None
    reset_on_fork: bool = False
    module: Path | None = None
    token_label: str | None = None
    pin_env: str | None = None
    pin_file: Path | None = None
    key_label: str | None = None
    key: str | None = None
    init_string: str | None = None
    environment: tuple[str, ...] = field(default=(), repr=False)
    read_write: bool = False
    provision: bool = False
    out: Path | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    most_sessions: int | None = None
    timeout_s: float = 60.0
    expect_conforming: bool = False
    quiet: bool = False

    @property
    def settings(self) -> Token:
        """The [token] table that they amount to. Raises ScenarioError, which names the option."""
        if (self.token is None) == (self.module is None):
            raise ScenarioError(f"--token, --module: give one of them; --token is one of {', '.join(OWN_TOKENS)}")
        return self._own() if self.token is not None else self._module()

    def _own(self) -> Token:
        _among("--token", self.token, OWN_TOKENS)
        for name in _OF_MODULES:
            if getattr(self, name):
                raise ScenarioError(f"{_option(name)}: only allowed with --module; the lab sets {self.token} up itself")
        kind = str(self.token)
        behind = kind.startswith("p11kit-")
        if self.over is not None:
            if not behind:
                raise ScenarioError("--over: only allowed with --token p11kit-proxy or p11kit-remote")
            _among("--over", self.over, [name for name in OWN_TOKENS if not name.startswith("p11kit-")])
        if self.reset_on_fork and (self.over or ("softhsm" if behind else kind)) != "softhsm":
            raise ScenarioError("--reset-on-fork: only allowed with softhsm, and what is over it")
        data: dict[str, Any] = {"kind": kind}
        data |= {"over": self.over} if self.over else {}
        data |= {"reset_on_fork": True} if self.reset_on_fork else {}
        return Token.model_validate(data)

    def _module(self) -> Token:
        for name in ("over", "reset_on_fork"):
            if getattr(self, name):
                raise ScenarioError(f"{_option(name)}: only allowed with --token")
        if self.token_label is None:
            raise ScenarioError("--token-label: missing; --module needs the label of the token to use")
        if (self.pin_env is None) == (self.pin_file is None):
            what = "missing" if self.pin_env is None else "given together with --pin-file"
            raise ScenarioError(f"--pin-env: {what}; --module needs exactly one of --pin-env, --pin-file")
        if self.pin_env is not None and not _VARIABLE.fullmatch(self.pin_env):
            raise ScenarioError("--pin-env: not the name of an environment variable; the PIN itself is not given here")
        variables = dict(_variable(each) for each in self.environment)
        if self.pin_env in variables:
            raise ScenarioError(
                f"--environment: {self.pin_env} is the variable of --pin-env, which the module must not see"
            )
        return Token.model_validate(
            {
                "kind": "module",
                "path": str(self.module),
                "token_label": self.token_label,
                "pin_env": self.pin_env,
                "pin_file": None if self.pin_file is None else str(self.pin_file),
                "key_label": self.key_label,
                "init_string": self.init_string,
                "environment": variables,
                "read_write": self.read_write or None,
                "provision": self.provision,
            }
        )

    @property
    def key_kind(self) -> str | None:
        """The kind of the key that signs; None on a module of which no key was named."""
        if self.key is not None:
            _among("--key", self.key, KEYS)
        named = self.token is not None or self.key_label is not None or self.provision
        return self.key or (_KEY if named else None)

    @property
    def sessions(self) -> int:
        if self.most_sessions is None:
            return _MOST_SESSIONS["module" if self.module else "token"]
        if self.most_sessions not in _SESSIONS:
            raise ScenarioError(f"--most-sessions: {self.most_sessions}; allowed: {_SESSIONS[0]} to {_SESSIONS[-1]}")
        return self.most_sessions

    @property
    def seconds(self) -> float:
        if not self.timeout_s >= _LEAST_S:
            raise ScenarioError(f"--timeout-s: {self.timeout_s:g}; allowed: {_LEAST_S:g} or more")
        return self.timeout_s

    def chosen(self, lines: Sequence[Line]) -> list[Line]:
        """The lines that --only and --skip leave. Both take names of lines and of groups."""
        allowed = [*get_args(Group), *(line.name for line in lines)]
        for name, given in (("--only", self.only), ("--skip", self.skip)):
            for each in given:
                _among(name, each, allowed)
        only, skip = set(self.only), set(self.skip)
        left = [line for line in lines if not only or {line.name, line.group} & only]
        left = [line for line in left if not {line.name, line.group} & skip]
        if not left:
            raise ScenarioError("--skip: no line is left")
        return left

    @property
    def name(self) -> str:
        """What the examination is called."""
        if self.module is not None:
            return self.module.name
        over = f" over {self.over}" if self.over else ""
        return f"{self.token}{over}{', reset_on_fork' if self.reset_on_fork else ''}"

    @property
    def command(self) -> str:
        """As given, for a reader who wants to repeat it; of variables for the module the names alone."""
        words = ["python", "-m", "lab", "probe"]
        for name in (
            "token",
            "over",
            "module",
            "token_label",
            "pin_env",
            "pin_file",
            "key_label",
            "key",
            "init_string",
        ):
            value = getattr(self, name)
            words += [] if value is None else [_option(name), str(value)]
        words += [word for each in self.environment for word in ("--environment", each.partition("=")[0] + "=...")]
        words += [_option(name) for name in ("reset_on_fork", "read_write", "provision") if getattr(self, name)]
        words += [word for name in ("only", "skip") for each in getattr(self, name) for word in (_option(name), each)]
        words += [] if self.most_sessions is None else ["--most-sessions", str(self.most_sessions)]
        words += [] if self.timeout_s == Options.timeout_s else ["--timeout-s", f"{self.timeout_s:g}"]
        return shlex.join(words)


def as_options(message: str) -> str:
    """A message on keys of a scenario, with the options that they were given by."""
    words = {
        "token.path": "--module",
        "token.token_label": "--token-label",
        "token.pin_env": "--pin-env",
        "token.pin_file": "--pin-file",
        "token.key_label": "--key-label",
        "token.init_string": "--init-string",
        "token.kind": "--token",
        "workload.key": "--key",
        "workload.mechanism": "--key",
    }
    for key, option in words.items():
        message = message.replace(f"{key}:", f"{option}:").replace(f"{key} ", f"{option} ")
    return message


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _among(option: str, given: str | None, allowed: Iterable[str]) -> None:
    if given not in (names := list(allowed)):
        raise ScenarioError(f'{option}: "{given}" is none; allowed: {", ".join(names)}')


def _variable(given: str) -> tuple[str, str]:
    """The value is not repeated: it may be a secret."""
    name, equals, value = given.partition("=")
    if not equals or not _VARIABLE.fullmatch(name):
        raise ScenarioError("--environment: not of the form NAME=VALUE")
    return name, value
