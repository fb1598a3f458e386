"""What the bridges engine and provider need of this machine: the library that OpenSSL loads, and where it lies.

Nothing of it is loaded here: paths, and what libcrypto says of itself, are enough to know.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError
from lab.tokens.needs import ArmSettings

# OpenSSL_version(3): 'OPENSSLDIR: "..."', 'ENGINESDIR: "..."' and 'MODULESDIR: "..."'
_VERSION, _DIRECTORY, _ENGINES_DIRECTORY, _MODULES_DIRECTORY = 6, 4, 5, 8
_PATIENCE_S: Final = 10
_HAS_SYMBOL: Final = "import ctypes, sys; getattr(ctypes.CDLL(sys.argv[1]), sys.argv[2])"


@dataclass(frozen=True)
class Library:
    """What a bridge loads, and how to come by it."""

    override: str  # environment variable with its path, where it lies elsewhere or another build is wanted
    what: str
    package: str  # of Debian
    symbol: str  # what OpenSSL calls first
    patterns: tuple[str, ...]  # where it lies if it is not where OpenSSL looks


LIBRARIES: Final[Mapping[str, Library]] = {
    "engine": Library(
        "LAB_ENGINE",
        "the OpenSSL engine of libp11",
        "libengine-pkcs11-openssl",
        "bind_engine",
        (
            "/usr/lib/*/engines-3/pkcs11.so",  # Debian
            "/usr/lib64/engines-3/pkcs11.so",  # Fedora
            "/usr/lib/engines-3/pkcs11.so",
            "/usr/local/lib*/engines-3/pkcs11.so",
        ),
    ),
    "provider": Library(
        "LAB_PROVIDER",
        "pkcs11-provider",
        "pkcs11-provider (on Debian 12 from bookworm-backports)",
        "OSSL_provider_init",
        (
            "/usr/lib/*/ossl-modules/pkcs11.so",
            "/usr/lib64/ossl-modules/pkcs11.so",
            "/usr/lib/ossl-modules/pkcs11.so",
            "/usr/local/lib*/ossl-modules/pkcs11.so",
        ),
    ),
}


@dataclass(frozen=True)
class OpenSsl:
    """What the libcrypto of this machine says of itself."""

    version: str  # such as 3.0.15
    has_engine: bool  # OpenSSL 4 has none, and some builds of 3 have none
    folders: Mapping[str, Path]  # by bridge: where OpenSSL looks for what it loads
    directory: Path | None = None  # where it looks for openssl.cnf


def openssl() -> OpenSsl:
    """Raises ScenarioError where there is no libcrypto of OpenSSL 3 or later."""
    try:
        libcrypto = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
        say = libcrypto.OpenSSL_version
    except (OSError, AttributeError):
        raise ScenarioError("workload.kind: handshakes need OpenSSL 3 (Debian package libssl3)") from None
    say.restype, say.argtypes = ctypes.c_char_p, [ctypes.c_int]
    folders = {}
    for bridge, number in (("engine", _ENGINES_DIRECTORY), ("provider", _MODULES_DIRECTORY)):
        if found := re.search(r'"(.+)"', (say(number) or b"").decode()):
            folders[bridge] = Path(found[1])
    own = re.search(r'"(.+)"', (say(_DIRECTORY) or b"").decode())
    return OpenSsl(
        (say(_VERSION) or b"").decode(), hasattr(libcrypto, "ENGINE_by_id"), folders, Path(own[1]) if own else None
    )


def library_of(bridge: str) -> Path:
    """The shared object that the bridge engine or provider loads. Raises ScenarioError, `tls.bridge: ...`, for none."""
    library, ours = LIBRARIES[bridge], openssl()
    if bridge == "engine" and not ours.has_engine:
        raise ScenarioError(
            f"tls.bridge: engine: this OpenSSL ({ours.version}) has no ENGINE; use direct, provider or software"
        )
    if named := os.environ.get(library.override):
        if not Path(named).is_file():
            raise ScenarioError(f"tls.bridge: {bridge}: {library.override} names {named}, which is no file")
        return Path(named).absolute()
    if bridge in ours.folders and (usual := ours.folders[bridge] / "pkcs11.so").is_file():
        return usual
    for pattern in library.patterns:
        for found in sorted(Path("/").glob(pattern.removeprefix("/"))):
            return found
    raise ScenarioError(
        f"tls.bridge: {bridge}: {library.what} is not installed (no pkcs11.so in "
        f"{ours.folders.get(bridge, 'any usual place')}); install the Debian package {library.package}, "
        f"or set {library.override} to its path"
    )


def loadable(bridge: str, library: Path) -> None:
    """Raises ScenarioError, `tls.bridge: ...`, where a file is not what OpenSSL could load as this bridge.

    A process of its own looks for the one symbol that OpenSSL calls, so that nothing of it is ever mapped here.
    """
    done = subprocess.run(
        [sys.executable, "-c", _HAS_SYMBOL, str(library), LIBRARIES[bridge].symbol],
        capture_output=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode:
        kind = "engine" if bridge == "engine" else "provider"
        raise ScenarioError(f"tls.bridge: {bridge}: {library} is no {kind} that OpenSSL could load")


def preflight(arms: Iterable[ArmSettings], file: str) -> None:
    """Raises ScenarioError, `file: arm "a": tls.bridge: ...`, for the first arm whose bridge is not here."""
    for arm in arms:
        bridge = arm.tls.bridge if arm.tls is not None else None
        if bridge is not None and bridge in LIBRARIES:
            try:
                loadable(bridge, library_of(bridge))
            except ScenarioError as error:
                raise ScenarioError(f'{file}: arm "{arm.name}": {error}') from None


def version_of(library: Path) -> str | None:
    """Version of the Debian package that a file belongs to; None where that cannot be had.

    Neither an engine nor a provider tells its version without being loaded.
    """
    if shutil.which("dpkg-query") is None:
        return None
    owner = _said("dpkg-query", "--search", str(library))
    return _said("dpkg-query", "--show", "--showformat=${Version}", owner.rpartition(": ")[0]) if owner else None


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
