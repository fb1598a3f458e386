"""How a program gets the tap in place of the module: its arguments, its environment, and configurations of its own."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError
from lab.tokens import bridges
from lab.tokens.bridges import library_of
from lab.tokens.softhsm import MODULE as SOFTHSM
from lab.trace import openssl_cnf, p11_kit
from lab.trace.openssl_cnf import Bridge
from lab.trace.spelling import Swap

MODULE_VARIABLES: Final = ("PKCS11_MODULE_PATH", "PKCS11_PROVIDER_MODULE")
"""Variables that libp11 and pkcs11-provider read; the first that is set names the module."""

_LARGEST_CONFIGURATION: Final = 1 << 20
_ENGINE_WORD: Final = re.compile(r"\bengine\b", re.IGNORECASE)
# httpd; nginx; stunnel
_ENGINE_LINE: Final = re.compile(
    rb"^\s*(SSLCryptoDevice\s+pkcs11|ssl_engine\s|engine\s*=)", re.IGNORECASE | re.MULTILINE
)


@dataclass
class Wiring:
    """The program as it will be started, and in words what was done for that. Words name no value of a variable."""

    command: list[str]
    environment: dict[str, str]
    told: list[str] = field(default_factory=list)


def module_of(given: Path | None, environment: Mapping[str, str]) -> Path:
    """The real module: as given, or as a variable names it, or SoftHSM. Raises ScenarioError where it is no file."""
    if given is not None:
        return _file(given, "--module")
    for name in MODULE_VARIABLES:
        if environment.get(name):
            return _file(Path(environment[name]), name)
    found = SOFTHSM.find()
    if found is None:
        raise ScenarioError(
            "--module: is not given, and SoftHSM is not installed; name the PKCS#11 library that the program uses"
        )
    return found


def _file(path: Path, what: str) -> Path:
    if not path.is_file():
        raise ScenarioError(f"{what}: {path} is no file; give the path of a PKCS#11 library")
    return path.absolute()


def wire(
    command: Sequence[str], environment: Mapping[str, str], swap: Swap, private: Path, bridge: Bridge | None
) -> Wiring:
    """bridge: what openssl.cnf is to activate; None: what the command suggests. `private`: a folder for this run."""
    wiring = Wiring([command[0]], dict(environment))
    for place, argument in enumerate(command[1:], start=1):
        changed = swap(argument)
        wiring.command.append(changed)
        if changed != argument:
            wiring.told.append(f"argument {place} names the module: it names the tap instead")
    for name, value in environment.items():
        if not name.startswith("LAB_") and name != "OPENSSL_CONF" and (changed := swap(value)) != value:
            wiring.environment[name] = changed
            wiring.told.append(f"{name} names the module: it names the tap instead")
    for name in MODULE_VARIABLES:
        if wiring.environment.get(name) != str(swap.tap):
            wiring.environment[name] = str(swap.tap)
            wiring.told.append(f"{name} names the tap")
    _openssl(wiring, swap, private, bridge or suggested(command))
    _p11_kit(wiring, swap, private)
    return wiring


def suggested(command: Sequence[str]) -> Bridge:
    """The engine where an argument, or a configuration that an argument names, asks for it; else the provider."""
    for argument in command[1:]:
        if _ENGINE_WORD.search(argument):
            return "engine"
        path = Path(argument)
        try:
            if (
                path.is_file()
                and path.stat().st_size <= _LARGEST_CONFIGURATION
                and _ENGINE_LINE.search(path.read_bytes())
            ):
                return "engine"
        except (OSError, ValueError):
            continue
    return "provider"


def _openssl(wiring: Wiring, swap: Swap, private: Path, bridge: Bridge) -> None:
    file = private / "openssl.cnf"
    named = wiring.environment.get("OPENSSL_CONF")
    own = Path(named) if named is not None else _system()
    text = _text(own) if own is not None else None
    if own is not None and text is not None and (named is not None or openssl_cnf.mentions_bridge(text)):
        if swap(text) == text:
            wiring.told.append(f"{own} does not name the module, and is left as it is")
            return
        _write_like(own, file, swap(text))
        wiring.environment["OPENSSL_CONF"] = str(file)
        wiring.told.append(f"OPENSSL_CONF is a copy of {own} that names the tap; what it includes is left as it is")
        return
    if named is not None:
        wiring.told.append(f"OPENSSL_CONF names {own}, which cannot be read, and is left as it is")
        return
    try:
        library = library_of(bridge)
    except ScenarioError:
        wiring.told.append(f"no openssl.cnf: {bridges.LIBRARIES[bridge].what} is not installed")
        return
    softhsm = "softhsm" in swap.module.resolve().name
    file.write_text(openssl_cnf.written(bridge, library, swap.tap, own if text is not None else None, softhsm))
    wiring.environment["OPENSSL_CONF"] = str(file)
    quirk = ", with the quirk no-deinit that SoftHSM needs" if softhsm and bridge == "provider" else ""
    wiring.told.append(f"OPENSSL_CONF activates the {bridge} {library} with the tap{quirk}")


def _system() -> Path | None:
    try:
        folder = bridges.openssl().directory
    except ScenarioError:
        return None
    return folder / "openssl.cnf" if folder is not None else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="surrogateescape")
    except (OSError, ValueError):
        return None


def _write_like(source: Path, copy: Path, text: str) -> None:
    """It may hold a PIN: whoever cannot read the source cannot read the copy, at any time."""
    copy.touch(mode=0o600)
    copy.write_text(text, errors="surrogateescape")
    if os.geteuid() == 0:
        status = source.stat()
        os.chown(copy, status.st_uid, status.st_gid)
    shutil.copymode(source, copy)


def _p11_kit(wiring: Wiring, swap: Swap, private: Path) -> None:
    if p11_kit.is_p11_kit(swap.module):
        return
    if os.geteuid() != 0:
        home = wiring.environment.get("XDG_CONFIG_HOME") or str(Path(wiring.environment.get("HOME", "/")) / ".config")
        name = p11_kit.write(private / "config", Path(home), swap)
        wiring.environment["XDG_CONFIG_HOME"] = str(private / "config")
        wiring.told.append(f"XDG_CONFIG_HOME is a private copy whose pkcs11/modules/{name} names the tap, for p11-kit")
    elif Path(wiring.command[0]).name == "p11tool" and not any(a.startswith("--provider") for a in wiring.command):
        wiring.command.insert(1, f"--provider={swap.tap}")
        wiring.told.append(
            "p11tool gets --provider with the tap, for p11-kit reads no configuration of a user's as root"
        )
