"""What the bridges engine and provider need of this machine: the library that OpenSSL loads, and where it lies.

Nothing of it is loaded here: paths, and what libcrypto says of itself, are enough to know.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.errors import ScenarioError
from lab.record.manifest import sha256
from lab.tokens.installed import find_installed, package_of
from lab.tokens.needs import ArmSettings, TlsSettings

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


def library_for(tls: TlsSettings) -> Path | None:
    """What the bridge of a [tls] table loads: tls.bridge_library, or else library_of(); None for the other bridges.

    Raises ScenarioError, `tls.bridge_library: ...` or `tls.bridge: ...`, where there is none.
    """
    if tls.bridge is None or tls.bridge not in LIBRARIES:
        return None
    if tls.bridge_library is None:
        return library_of(tls.bridge)
    _check_possible(tls.bridge, openssl())
    if not Path(tls.bridge_library).is_file():
        raise ScenarioError(
            f"tls.bridge_library: {tls.bridge_library} is no file; name {LIBRARIES[tls.bridge].what}, or leave it out "
            "for the installed one (script/newer-libp11 gets the newer engine of Debian's backports)"
        )
    return Path(tls.bridge_library).absolute()


def library_of(bridge: str) -> Path:
    """The installed library of the bridge engine or provider. Raises ScenarioError, `tls.bridge: ...`, for none."""
    library, ours = LIBRARIES[bridge], openssl()
    _check_possible(bridge, ours)
    usual = (f"{ours.folders[bridge]}/pkcs11.so",) if bridge in ours.folders else ()
    if (found := find_installed(library.override, (*usual, *library.patterns))) is not None:
        return found
    if named := os.environ.get(library.override):
        raise ScenarioError(f"tls.bridge: {bridge}: {library.override} names {named}, which is no file")
    raise ScenarioError(
        f"tls.bridge: {bridge}: {library.what} is not installed (no pkcs11.so in "
        f"{ours.folders.get(bridge, 'any usual place')}); install the Debian package {library.package}, "
        f"or set {library.override} to its path"
    )


def _check_possible(bridge: str, ours: OpenSsl) -> None:
    if bridge == "engine" and not ours.has_engine:
        raise ScenarioError(
            f"tls.bridge: engine: this OpenSSL ({ours.version}) has no ENGINE; use direct, provider or software"
        )


def loadable(bridge: str, library: Path, key: str = "tls.bridge") -> None:
    """Raises ScenarioError, `key: ...`, where a file is not what OpenSSL could load as this bridge.

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
        raise ScenarioError(f"{key}: {bridge}: {library} is no {kind} that OpenSSL could load")


def preflight(arms: Iterable[ArmSettings], file: str) -> None:
    """Raises ScenarioError, `file: arm "a": tls.bridge: ...`, for the first arm whose bridge is not here.

    The key is tls.bridge_library where that names what cannot be loaded. A library of several arms is looked at once.
    """
    seen: set[tuple[str, Path]] = set()
    for arm in arms:
        try:
            tls = arm.tls
            if tls is None or tls.bridge is None or (library := library_for(tls)) is None:
                continue
            if (tls.bridge, library) not in seen:
                loadable(tls.bridge, library, "tls.bridge_library" if tls.bridge_library is not None else "tls.bridge")
                seen.add((tls.bridge, library))
        except ScenarioError as error:
            raise ScenarioError(f'{file}: arm "{arm.name}": {error}') from None


def manifest(arms: Iterable[ArmSettings]) -> list[dict[str, Any]]:
    """What is known of each library that the arms' bridges load, in the order of the arms.

    Raises ScenarioError as library_for does.
    """
    loaded = {
        (arm.tls.bridge, library): None
        for arm in arms
        if arm.tls is not None and (library := library_for(arm.tls)) is not None
    }
    return [
        {"bridge": bridge, "library": str(path), "sha256": sha256(path), "package_version": version_of(path)}
        for bridge, path in loaded
    ]


def version_of(library: Path) -> str | None:
    """Version of the Debian package that a file belongs to; None where that cannot be had.

    Neither an engine nor a provider tells its version without being loaded.
    """
    package = package_of(library)
    return package[1] if package else None
