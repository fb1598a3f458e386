"""`lab trace` as a user starts it, in a process of its own, and what its run folder says afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab import program
from lab.tokens.model import TokenAccess
from tests.runs import Place


@dataclass(frozen=True)
class Tracing:
    """A place to run in, and a token in a private copy. Programs get the token through their environment."""

    place: Place
    access: TokenAccess

    @property
    def module(self) -> str:
        return str(self.access.module)

    @property
    def pin(self) -> str:
        return self.access.pin.reveal()

    def uri(self, kind: str = "private", label: str = "ec-p256") -> str:
        """A PKCS#11 URI with the PIN in it, as people write them."""
        return f"pkcs11:token={self.access.token_label};object={label};type={kind};pin-value={self.pin}"

    def start(
        self, *command: str, options: tuple[str, ...] = (), environment: Mapping[str, str] | None = None, **how: Any
    ) -> subprocess.Popen[str]:
        self.place.temporary.mkdir(exist_ok=True)
        inherited = {**program.environment(), **self.access.environment, "TMPDIR": str(self.place.temporary)}
        inherited |= {"LAB_TEST_MARK": self.place.mark, **(environment or {})}
        given: dict[str, Any] = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
            "cwd": self.place.folder, "env": inherited,
        }  # fmt: skip
        words = program.command("lab", "trace", "--no-report", "--out", str(self.place.out), *options, "--", *command)
        return subprocess.Popen(words, **{**given, **how})

    def run(
        self, *command: str, options: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, options=options, environment=environment)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def arm(self) -> dict[str, Any]:
        """The one arm of the summary."""
        (arm,) = self.place.summary()["arms"].values()
        found: dict[str, Any] = arm
        return found

    @property
    def processes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.arm["traced"]["processes"]
        return found

    def verdict(self, rule: str) -> str:
        return str(self.arm["rules"][rule]["verdict"])
