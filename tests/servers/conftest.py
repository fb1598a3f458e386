"""A SoftHSM token of the session with the keys of two hosts, and a short folder for a site."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import program
from lab.tokens.model import Prepared, TokenAccess
from lab.tokens.softhsm import SoftHsm
from tests.servers.sites import PASSABLE
from tests.tokens.conftest import Settings


@dataclass(frozen=True)
class Keys:
    """A private copy of the token, and what is known of its keys."""

    access: TokenAccess
    prepared: Prepared


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SoftHsm, Prepared]]:
    token = SoftHsm(Settings())
    yield token, token.prepare(frozenset({"ec-p256-0", "ec-p256-1"}), tmp_path_factory.mktemp("golden") / "token")
    token.retire()


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user can pass through, with a path that is short enough for a socket in it."""
    for name, value in program.environment().items():
        monkeypatch.setenv(name, value)
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        Path(folder).chmod(PASSABLE)
        yield Path(folder)


@pytest.fixture
def keys(made: tuple[SoftHsm, Prepared], private: Path) -> Keys:
    token, prepared = made
    return Keys(token.restore(private / "token", "ec-p256-0"), prepared)


@pytest.fixture
def site_folder(private: Path) -> Path:
    (private / "site").mkdir()
    return private / "site"
