"""What every server's OpenSSL is told of the token, and how the errors that it writes into logs are read.

The PIN stands in the configuration alone, which only whoever starts the server can read: a key's URI comes up in
messages, and in a process's arguments of some servers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lab.errors import ScenarioError
from lab.servers.model import Site

CONFIGURATION: Final = "openssl.cnf"

_ENGINE: Final = """openssl_conf = lab
[lab]
engines = lab_engines
[lab_engines]
pkcs11 = lab_engine
[lab_engine]
engine_id = pkcs11
dynamic_path = {library}
MODULE_PATH = {module}
PIN = {pin}
init = {init}
"""
"""`init = 1`: with 0 httpd frees libp11 0.4.13 between the two readings of its configuration, and dies of it."""

_PROVIDER: Final = """openssl_conf = lab
[lab]
providers = lab_providers
[lab_providers]
default = lab_software
pkcs11 = lab_token
[lab_software]
activate = 1
[lab_token]
module = {library}
pkcs11-module-path = {module}
pkcs11-module-token-pin = {pin}
pkcs11-module-cache-pins = cache
pkcs11-module-quirks = no-deinit no-operation-state
activate = 1
"""
"""The default provider first, so that SoftHSM's own use of OpenSSL does not come back to SoftHSM."""

_SPECIAL: Final = frozenset("$#\\\"'\n\r")  # config(5) of OpenSSL: variables, comments, quotes
_PEM_LABEL: Final = "PKCS#11 PROVIDER URI"
_PEM_VERSION: Final = b"PKCS#11 Provider URI v1.0"
_PEM_COLUMNS: Final = 64
_SEQUENCE, _VISIBLE_STRING, _UTF8_STRING = 0x30, 0x1A, 0x0C  # tags of ASN.1
_SHORT: Final = 0x80

_ERROR: Final = re.compile(r"error:([0-9A-Fa-f]{8}):([^:]*):([^:]*):((?:(?! error:)[^\n:()])*)")
_LIBRARY_BITS: Final = 23  # a packed error is a library's number above the number of its reason (openssl/err.h)
_SSL_LIBRARY: Final = 20
_FIRST_ALERT: Final = 1000  # reasons of libssl from here on are alerts that came in (openssl/sslerr.h)
_MOST_ALERT: Final = 255


def configure(site: Site) -> Path:
    """Writes the openssl.cnf of a site, mode 0600. Raises ScenarioError where the file could not say a name."""
    text = _ENGINE if uses_engine(site) else _PROVIDER
    for value in (str(site.bridge_library), str(site.module), site.pin.reveal()):
        if set(value) & _SPECIAL or value != value.strip():
            what = "the PIN" if value == site.pin.reveal() else value
            marks = " ".join(sorted(_SPECIAL - {"\n", "\r"}))
            raise ScenarioError(f"{what}: openssl.cnf cannot have one of {marks} in it, nor blanks at its ends")
    path = site.folder / CONFIGURATION
    path.touch(mode=0o600)
    path.write_text(text.format(library=site.bridge_library, module=site.module, pin=site.pin.reveal(), init=1))
    return path


def uses_engine(site: Site) -> bool:
    """Whether the bridge is the engine; otherwise it is the provider."""
    assert site.arm.tls is not None  # resolved
    return site.arm.tls.bridge == "engine"


def key_uri(site: Site, label: str) -> str:
    """A private key of the site's token, without its PIN (RFC 7512)."""
    return f"pkcs11:token={quote(site.token_label, safe='')};object={quote(label, safe='')};type=private"


def key_file(site: Site, label: str, path: Path) -> Path:
    """Writes a PEM file that stands for a key of the token, which pkcs11-provider decodes wherever a key is read.

    Source: pkcs11-provider, docs/ and its tools/uri2pem.py.
    """
    der = _tlv(_SEQUENCE, _tlv(_VISIBLE_STRING, _PEM_VERSION) + _tlv(_UTF8_STRING, key_uri(site, label).encode()))
    text = base64.b64encode(der).decode()
    lines = [text[first : first + _PEM_COLUMNS] for first in range(0, len(text), _PEM_COLUMNS)]
    path.write_text("\n".join((f"-----BEGIN {_PEM_LABEL}-----", *lines, f"-----END {_PEM_LABEL}-----", "")))
    return path


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    size = bytes([length]) if length < _SHORT else bytes([_SHORT + 2]) + length.to_bytes(2, "big")
    return bytes([tag]) + size + content


@dataclass(frozen=True)
class Said:
    """What OpenSSL's errors in a log amount to."""

    code: int = 0
    text: str = ""
    ckr: int | None = None
    alert: int | None = None


def read_errors(lines: Iterable[str]) -> Said:
    """The errors of one failure, in the order in which they stand; the token's own word counts most.

    libp11 and pkcs11-provider raise errors whose reason is the CKR code.
    """
    found = [match for line in lines for match in _ERROR.finditer(line)]
    if not found:
        return Said()
    tokens = [match for match in found if match[2] in ("PKCS#11 module", "pkcs11")]
    match = tokens[-1] if tokens else found[0]
    code = int(match[1], 16)
    library, reason = code >> _LIBRARY_BITS, code & ((1 << _LIBRARY_BITS) - 1)
    alert = reason - _FIRST_ALERT if library == _SSL_LIBRARY else -1
    return Said(
        code=code,
        text=match[4].strip(),
        ckr=reason if tokens else None,
        alert=alert if 0 <= alert <= _MOST_ALERT else None,
    )
