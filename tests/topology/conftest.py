"""A token that somebody else set up, behind a module that misbehaves on demand."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.tokens.model import TokenAccess
from tests.mischief import mischief_module
from tests.runs import Place
from tests.tokens.conftest import access, golden

__all__ = ["access", "golden", "mischief_module"]

PIN_VARIABLE = "LAB_TEST_PIN"


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

    def scenario(self, mischief: str, tables: str, who: str = "child", once: bool = True) -> Path:
        """`mischief` as in mischief.c; it happens in one process of each run, or (once is False) in all."""
        path = self.folder / "mischief.toml"
        settings: Mapping[str, Any] = {
            **self.access.environment,
            "MISCHIEF_MODULE": str(self.access.module),
            "MISCHIEF": mischief,
            "MISCHIEF_WHO": who,
            **({"MISCHIEF_ONCE": str(self.folder / "happened")} if once else {}),
        }
        inline = ", ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
        path.write_text(
            f'blocks = 1\n[token]\nkind = "module"\npath = "{self.module}"\ntoken_label = "{self.access.token_label}"\n'
            f'pin_env = "{PIN_VARIABLE}"\nkey_label = "ec-p256"\nenvironment = {{ {inline} }}\n{tables}'
        )
        return path

    @property
    def happened(self) -> bool:
        return (self.folder / "happened").exists()


@pytest.fixture
def mischief(tmp_path: Path, mischief_module: Path, access: TokenAccess) -> Mischief:
    return Mischief(tmp_path, mischief_module, access)


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
