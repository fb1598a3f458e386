"""Builds of the tap and of what stands behind and before it, once per session."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mischief import mischief_module
from tests.native.build import SOURCES, TESTS, compile_c

__all__ = ["mischief_module"]

KEY = "000102030405060708090a0b0c0d0e0f"
HEAD = """
import ctypes, os, sys
from tests.native.caller import *
tap, fake = Module(os.environ["TAP"]), Fake(os.environ["MODULE"])
"""


@dataclass(frozen=True)
class Bench:
    """The tap in front of a module, and a folder for its rows."""

    tap: Path
    module: Path
    stress_program: Path
    folder: Path

    def environment(self, **more: str | None) -> dict[str, str]:
        """Of a program under the tap; None takes a variable out."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LAB_TAP")}
        mine = {"LAB_TAP_MODULE": str(self.module), "LAB_TAP_DIR": str(self.folder), "LAB_TAP_KEY": KEY}
        paths = {"TAP": str(self.tap), "MODULE": str(self.module), "PYTHONPATH": os.pathsep.join(sys.path)}
        asked = kept | mine | paths | more
        return {name: value for name, value in asked.items() if value is not None}

    def python(self, script: str, head: str = HEAD, /, **more: str | None) -> subprocess.CompletedProcess[str]:
        """Runs a script in a fresh interpreter; by its head it has `tap` and `fake` (see caller.py) already."""
        command = [sys.executable, "-c", head + script]
        done = subprocess.run(command, env=self.environment(**more), capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done

    def stress(self, mode: str, *, threads: int = 4, calls: int = 100) -> subprocess.CompletedProcess[str]:
        command = [str(self.stress_program), str(self.tap), str(self.module), mode, str(threads), str(calls)]
        return subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    compile_c(folder / "tap.so", SOURCES / "tap.c")
    compile_c(folder / "fake.so", TESTS / "fake_module.c")
    compile_c(folder / "fake3.so", TESTS / "fake_module.c", flags=("-DFAKE_V3",))
    compile_c(folder / "stress", TESTS / "stress.c", shared=False)
    return folder


@pytest.fixture
def bench(built: Path, tmp_path: Path) -> Bench:
    """The tap before a v2.40 module."""
    return Bench(built / "tap.so", built / "fake.so", built / "stress", tmp_path)


@pytest.fixture
def bench3(built: Path, tmp_path: Path) -> Bench:
    """The tap before a module that has C_GetInterface and a v3.0 list."""
    return Bench(built / "tap.so", built / "fake3.so", built / "stress", tmp_path)
