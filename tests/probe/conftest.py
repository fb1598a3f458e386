"""Probes of a real SoftHSM, straight and behind a module that misbehaves on demand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.probe.examination import Examined
from lab.probe.examine import Bed, examine
from lab.probe.lines import LINES
from lab.probe.seen import Seen
from lab.record.mechanisms import mechanism
from lab.tokens.model import Prepared, Token, TokenAccess
from lab.tokens.softhsm import SoftHsm
from lab.topology.line import KeeperLine
from tests.mischief import mischief_module
from tests.runs import Place
from tests.tokens.conftest import Settings, access, golden

__all__ = ["access", "golden", "mischief_module"]

KEY = "ec-p256"
Table = dict[str, Examined]
"""The lines of an examination by name."""


class Misbehaving(SoftHsm):
    """SoftHSM behind the module of mischief.c."""

    def behave(self, module: Path, mischief: str, who: str) -> None:
        self._wrapped = {"MISCHIEF": mischief, "MISCHIEF_WHO": who, "MISCHIEF_MODULE": str(self.path)}
        self._module = module

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        access = super().restore(folder, key)
        return replace(access, module=self._module, environment={**access.environment, **self._wrapped})


def bed_of(token: Token, made: Prepared, patience_s: float = 3.0) -> Bed:
    """With fewer children than the command has, for the time that they take."""
    pem = made.keys[KEY].public_pem
    return Bed(token, KEY, mechanism("ECDSA", KEY), pem, most_sessions=16, children=6, patience_s=patience_s)


def examined(bed: Bed, folder: Path, names: set[str] | None = None) -> tuple[Table, dict[str, Seen]]:
    """The lines about forks, or some of them, and what their stages saw."""
    lines = [line for line in LINES if (line.name in names if names else line.group == "fork")]
    never, _ = os.pipe()
    seen: dict[str, Seen] = {}
    with KeeperLine() as keeper:
        return {one.name: one for one in examine(bed, lines, keeper, folder, float("inf"), never, seen)}, seen


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


Examine = Callable[[str, str, set[str]], tuple[Table, dict[str, Seen]]]
"""What comes of a mischief (as in mischief.c) of somebody (root, child, any) in some lines."""


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Misbehaving, Prepared]]:
    token = Misbehaving(Settings())
    yield token, token.prepare(frozenset({KEY}), tmp_path_factory.mktemp("misbehaving") / "golden")
    token.retire()


@pytest.fixture
def mischief(misbehaving: tuple[Misbehaving, Prepared], mischief_module: Path, tmp_path: Path) -> Examine:
    def look(what: str, who: str, names: set[str]) -> tuple[Table, dict[str, Seen]]:
        token, made = misbehaving
        token.behave(mischief_module, what, who)
        return examined(bed_of(token, made, patience_s=1.5), tmp_path, names)

    return look
