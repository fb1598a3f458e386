"""A real SoftHSM token of the session, settings by keyword, and small modules compiled for one test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.tokens.model import TokenAccess
from lab.tokens.softhsm import SoftHsm


@dataclass(frozen=True)
class Settings:
    """A [token] table as a scenario resolves it."""

    kind: str = "softhsm"
    over: str | None = None
    reset_on_fork: bool | None = None
    resource_manager: bool | None = None
    path: str | Path | None = None
    token_label: str | None = None
    pin_env: str | None = None
    pin_file: str | Path | None = None
    key_label: str | None = None
    init_string: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    provision: bool = False
    read_write: bool | None = None


@dataclass(frozen=True)
class Workload:
    kind: str = "sign"
    key: str | None = "ec-p256"
    mechanism: str | None = "ECDSA"


@dataclass(frozen=True)
class Context:
    policy: str | None = "per-process"


@dataclass(frozen=True)
class Tls:
    version: str = "1.3"
    bridge: str | None = "direct"
    key_exchange: str | None = "ecdhe"
    vhosts: int = 1
    certificate: str | None = None
    bridge_library: str | None = None


@dataclass(frozen=True)
class Server:
    user: str | None = "www-data"


@dataclass(frozen=True)
class Arm:
    token: Settings | None
    workload: Workload = field(default_factory=Workload)
    name: str = "only"
    tls: Tls | None = None
    server: Server | None = None
    context: Context | None = None


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    """A prepared SoftHSM token with an EC and an RSA key."""
    token = SoftHsm(Settings())
    token.prepare(frozenset({"ec-p256", "rsa-2048"}), tmp_path_factory.mktemp("golden") / "token")
    yield token
    token.retire()


@pytest.fixture
def access(golden: SoftHsm, tmp_path: Path) -> TokenAccess:
    """A private copy of the token, for this test to use and to break."""
    return golden.restore(tmp_path / "token", "ec-p256")


@pytest.fixture
def foreign(access: TokenAccess, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """That copy, as a module that somebody else set up, with its PIN in an environment variable."""
    monkeypatch.setenv("FOREIGN_PIN", access.pin.reveal())
    return Settings(
        kind="module",
        path=access.module,
        token_label=access.token_label,
        pin_env="FOREIGN_PIN",
        key_label="ec-p256",
        environment=access.environment,
    )


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], Path]:
    """Compiles a C text with the PKCS#11 header to a shared library."""

    def build(text: str) -> Path:
        source, library = tmp_path / "module.c", tmp_path / "module.so"
        source.write_text("#include <p11-kit/pkcs11.h>\n#include <stdio.h>\n#include <unistd.h>\n" + text)
        flags = subprocess.run(
            ["pkg-config", "--cflags", "p11-kit-1"], check=True, capture_output=True, text=True
        ).stdout.split()
        subprocess.run(["cc", "-shared", "-fPIC", *flags, "-o", library, source], check=True)
        return library

    return build
