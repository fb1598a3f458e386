"""The module that misbehaves on demand (tests/native/mischief.c), built once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.native.build import TESTS, compile_c


@pytest.fixture(scope="session")
def mischief_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the library. MISCHIEF_MODULE, MISCHIEF, MISCHIEF_ONCE and MISCHIEF_WHO tell it what to do.

    Frame pointers stay and inlining is off, so that a stack of a hung process names mischief_hang.
    """
    folder = tmp_path_factory.mktemp("mischief")
    return compile_c(folder / "mischief.so", TESTS / "mischief.c", flags=("-O1", "-fno-omit-frame-pointer"))
