"""Lines as the coordinator examines them, on a real token, whose module another one may stand in front of."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.probe.examination import Examined
from lab.probe.examine import Bed, examine
from lab.probe.lines import LINES
from lab.probe.seen import Seen
from lab.record.mechanisms import mechanism
from lab.tokens.model import Token, TokenAccess
from lab.tokens.softhsm import SoftHsm
from lab.topology.line import KeeperLine
from tests.tokens.conftest import Settings

KEY = "ec-p256"

Found = tuple[dict[str, Examined], dict[str, Seen]]


@dataclass(frozen=True)
class Fronted:
    """A token to whose users a module is given that loads the real one: `variable` tells it which."""

    token: Token
    module: Path
    variable: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        access = self.token.restore(folder, key)
        told = {**access.environment, self.variable: str(access.module), **self.environment}
        return replace(access, module=self.module, environment=told)


@dataclass(frozen=True)
class Probing:
    """A token that is ready, and what examines it."""

    token: Token
    bed: Bed
    keeper: KeeperLine
    folder: Path

    def behind(self, module: Path, variable: str, **environment: str) -> Any:
        """The same token behind another module."""
        return Fronted(self.token, module, variable, environment)

    def lines(self, *names: str, **bed: Any) -> Found:
        """These lines, by name, and what their stages saw. bed: what is other than usual."""
        wanted = [line for line in LINES if line.name in names]
        assert {line.name for line in wanted} == set(names)
        # a folder for each: stages have folders of their own within it
        private = self.folder / f"{time.monotonic_ns()}"
        private.mkdir()
        until_s = time.monotonic() + 60
        seen: dict[str, Seen] = {}
        never, other_end = os.pipe()
        try:
            found = list(examine(replace(self.bed, **bed), wanted, self.keeper, private, until_s, never, seen))
        finally:
            os.close(never)
            os.close(other_end)
        return {line.name: line for line in found}, seen


@contextmanager
def probing(folder: Path, token: Token | None = None) -> Iterator[Probing]:
    """A token is made ready; without one it is SoftHSM's."""
    token = token or SoftHsm(Settings())
    made = token.prepare(frozenset({KEY}), folder / "golden")
    bed = Bed(token, KEY, mechanism("ECDSA", KEY), made.keys[KEY].public_pem, most_sessions=16)
    with KeeperLine() as keeper:
        yield Probing(token, bed, keeper, folder)
