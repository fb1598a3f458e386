"""The openssl.cnf that gives the tap to programs that reach a token through OpenSSL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

Bridge = Literal["engine", "provider"]

_SECTION: Final = re.compile(r"^\s*\[\s*([^\]]*?)\s*\]")
_ENTRY: Final = re.compile(r"^\s*([^#=\s]+)\s*=\s*([^#\s]+)")
_OURS: Final = "lab_trace"


def sections(text: str) -> dict[str, dict[str, str]]:
    """Sections of an openssl.cnf, as far as a first word for each name goes. What stands above all is `default`."""
    found: dict[str, dict[str, str]] = {"default": {}}
    current = "default"
    for line in text.splitlines():
        if section := _SECTION.match(line):
            current = section[1]
            found.setdefault(current, {})
        elif entry := _ENTRY.match(line):
            found[current][entry[1]] = entry[2]
    return found


def mentions_bridge(text: str) -> bool:
    """Whether a configuration has a word of its own on tokens, in which nobody should meddle."""
    return any("pkcs11" in line.partition("#")[0].lower() for line in text.splitlines())


def written(bridge: Bridge, library: Path, tap: Path, system: Path | None, softhsm: bool) -> str:
    """A configuration that activates one bridge with the tap, on top of the system's own (None: there is none).

    One, not both: where the provider is active, OpenSSL 3.0 cannot use an engine's EC keys ("keymgmt export failure").
    """
    known = sections(system.read_text(errors="replace")) if system is not None else {"default": {}}
    start = known["default"].get("openssl_conf", "")
    lines = [f".include {system}"] if system is not None else []
    if not start:
        start = _OURS
        lines += ["[default]", f"openssl_conf = {start}"]
    lines += _engine(start, library, tap) if bridge == "engine" else _provider(start, known, library, tap, softhsm)
    return "\n".join(lines) + "\n"


def _engine(start: str, library: Path, tap: Path) -> list[str]:
    return [
        *(f"[{start}]", f"engines = {_OURS}_engines"),
        *(f"[{_OURS}_engines]", f"pkcs11 = {_OURS}_engine"),
        *(f"[{_OURS}_engine]", "engine_id = pkcs11", f"dynamic_path = {library}", f"MODULE_PATH = {tap}", "init = 1"),
    ]


def _provider(start: str, known: Mapping[str, Mapping[str, str]], library: Path, tap: Path, softhsm: bool) -> list[str]:
    providers = known.get(start, {}).get("providers", "")
    listed = known.get(providers, {})
    active = any(known.get(section, {}).get("activate") == "1" for section in listed.values())
    listing = providers or f"{_OURS}_providers"
    lines = [f"[{start}]", f"providers = {listing}", f"[{listing}]"]
    if not active:  # without a word on providers OpenSSL takes the default one, and with one only what is named
        default = listed.get("default", f"{_OURS}_default")
        # The first one named is preferred. SoftHSM's own use of OpenSSL must not come back to SoftHSM, and deadlock.
        lines += [f"default = {default}", f"[{default}]", "activate = 1", f"[{listing}]"]
    lines.append(f"pkcs11 = {_OURS}_provider")
    lines += [f"[{_OURS}_provider]", f"module = {library}", f"pkcs11-module-path = {tap}", "activate = 1"]
    if softhsm:  # its C_Finalize after OpenSSL's own end is a SIGSEGV in every program, with or without a tap
        lines.append("pkcs11-module-quirks = no-deinit")
    return lines
