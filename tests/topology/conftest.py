"""A token that somebody else set up, behind a module that misbehaves on demand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.tokens.model import TokenAccess
from lab.tokens.softhsm import SoftHsm
from tests.combined import Sealed, Tables, inline, run
from tests.mischief import mischief_module
from tests.runs import Place, shared_memory
from tests.tokens.conftest import access, golden

__all__ = ["access", "golden", "mischief_module"]

PIN_VARIABLE = "LAB_TEST_PIN"
NO_BRACKETS = str.maketrans({"(": " ", ")": None})
"""As names of arms have none."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@dataclass(frozen=True)
class Mischief:
    """Writes scenarios whose module misbehaves, and the environment that they need."""

    folder: Path
    module: Path
    access: TokenAccess

    @property
    def environment(self) -> dict[str, str]:
        return {PIN_VARIABLE: self.access.pin.reveal()}

    def token(self, mischief: str, who: str = "child", mark: str | None = "happened") -> dict[str, Any]:
        """The [token] table. `mischief` as in mischief.c.

        It happens in one process of those that share the file `mark`, which is made then, or (None) in all.
        """
        settings: Mapping[str, Any] = {
            **self.access.environment,
            "MISCHIEF_MODULE": str(self.access.module),
            "MISCHIEF": mischief,
            "MISCHIEF_WHO": who,
            **({"MISCHIEF_ONCE": str(self.folder / mark)} if mark else {}),
        }
        return {
            "kind": "module",
            "path": str(self.module),
            "token_label": self.access.token_label,
            "pin_env": PIN_VARIABLE,
            "key_label": "ec-p256",
            "environment": settings,
        }

    def scenario(self, mischief: str, tables: str, who: str = "child", once: bool = True) -> Path:
        """The path of a scenario of one arm: it happens in one process of each run, or (once is False) in all."""
        path = self.folder / "mischief.toml"
        token = inline(self.token(mischief, who, "happened" if once else None))
        path.write_text(f"blocks = 1\ntoken = {token}\n{tables}")
        return path

    @property
    def happened(self) -> bool:
        return (self.folder / "happened").exists()


@pytest.fixture
def mischief(tmp_path: Path, mischief_module: Path, access: TokenAccess) -> Mischief:
    return Mischief(tmp_path, mischief_module, access)


@dataclass(frozen=True)
class Death:
    """How one process dies, and what the record must say of it."""

    mischief: str
    end: str
    status: int
    layer: str
    code: str
    last_call: str

    def is_told(self, one: Sealed) -> int:
        """One process, and no other, has this end, and is counted by this name; its index."""
        odd = [p for p in one.trial["processes"] if p["end"] != "exit" or not p["finished"]]
        assert [(p["end"], p["status"], p["last_call"]) for p in odd] == [(self.end, self.status, self.last_call)]
        named = {(f["layer"], f["code"]): f["processes"] for f in one.arm["failures"]}
        assert named[self.layer, self.code] == 1
        if self.end == "hang":
            (stack,) = one.folder.glob("stack-*.txt")
            assert "mischief_hang" in stack.read_text()
        return int(odd[0]["index"])


@dataclass(frozen=True)
class Deaths:
    """Runs of several arms, in each of which one process meets its own mischief, in one run of the lab."""

    folder: Path
    module: Path
    golden: SoftHsm

    def run(
        self, name: str, base: str, deaths: Mapping[str, Death], tables: Tables, *options: str
    ) -> dict[str, Sealed]:
        """Each arm by its name, which is as in `deaths`. Fails where a mischief did not happen, or memory is left."""
        before = shared_memory()
        folder = self.folder / name
        folder.mkdir()
        mischief = Mischief(folder, self.module, self.golden.restore(folder / "token", "ec-p256"))
        marks = {death: death.translate(NO_BRACKETS) for death in deaths}
        arms = {
            marks[name]: {**tables, "token": mischief.token(death.mischief, mark=marks[name])}
            for name, death in deaths.items()
        }
        done = run(folder, base, arms, environment=mischief.environment)
        assert [arm for arm in arms if not (folder / arm).exists()] == []
        assert shared_memory() <= before  # others may take theirs away meanwhile
        return {name: done[mark] for name, mark in marks.items()}


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory, mischief_module: Path, golden: SoftHsm) -> Deaths:
    return Deaths(tmp_path_factory.mktemp("deaths"), mischief_module, golden)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB, its own mount so that filling it hurts nobody."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[str], Path]:
    """A scenario file from its text."""

    def write(text: str) -> Path:
        path = tmp_path / "scenario.toml"
        path.write_text(text)
        return path

    return write
