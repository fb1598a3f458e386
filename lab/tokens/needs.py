"""What the arms of a run need of the token that they use: keys by name, what these must do, and mechanisms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.tokens.keys import KEYS, key_names
from lab.tokens.model import TokenSettings


class WorkloadSettings(Protocol):
    """The [workload] table, as far as tokens are concerned. Key and mechanism are None where no key is used."""

    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str | None: ...
    @property
    def mechanism(self) -> str | None: ...


class ContextSettings(Protocol):
    """The [context] table, as far as tokens are concerned. A real server has no policy."""

    @property
    def policy(self) -> str | None: ...


class TlsSettings(Protocol):
    """The [tls] table, as far as tokens are concerned."""

    @property
    def version(self) -> str: ...
    @property
    def bridge(self) -> str | None: ...
    @property
    def bridge_library(self) -> str | None: ...
    @property
    def key_exchange(self) -> str | None: ...
    @property
    def vhosts(self) -> int: ...
    @property
    def certificate(self) -> str | None: ...


class ServerSettings(Protocol):
    """The [server] table of a real server, as far as tokens are concerned."""

    @property
    def user(self) -> str | None: ...


class ArmSettings(Protocol):
    """One arm, as far as tokens are concerned. `token` is not looked at for the null workload."""

    @property
    def name(self) -> str: ...
    @property
    def token(self) -> TokenSettings | None: ...
    @property
    def context(self) -> ContextSettings | None: ...
    @property
    def workload(self) -> WorkloadSettings: ...
    @property
    def tls(self) -> TlsSettings | None: ...
    @property
    def server(self) -> ServerSettings | None: ...


@dataclass(frozen=True)
class Needs:
    """Of one token, by all arms that use it."""

    sign: frozenset[str]  # names of keys (lab.tokens.keys.key_names)
    decrypt: frozenset[str]  # names of keys; a key may have to do both
    mechanisms: frozenset[tuple[str, str]]  # (key kind, signing mechanism)

    @staticmethod
    def of(arms: Iterable[ArmSettings]) -> Needs:
        sign: set[str] = set()
        decrypt: set[str] = set()
        mechanisms: set[tuple[str, str]] = set()
        for arm in arms:
            names = keys_of(arm)
            (decrypt if arm.tls is not None and arm.tls.key_exchange == "rsa" else sign).update(names)
            mechanisms.update((arm.workload.key, name) for name in signing_mechanisms(arm) if arm.workload.key)
        return Needs(frozenset(sign), frozenset(decrypt), frozenset(mechanisms))


def keys_of(arm: ArmSettings) -> tuple[str, ...]:
    """Names of the keys that an arm uses on its token; the place in the tuple is that of the virtual host."""
    if arm.token is None or arm.workload.key is None:
        return ()
    return key_names(arm.workload.key, arm.tls.vhosts if arm.tls is not None else 1)


def signing_mechanisms(arm: ArmSettings) -> Sequence[str]:
    """Names of the mechanisms that an arm's signatures need.

    Of handshakes only those of the bridge direct are known; the libraries of the others choose their own. RSA keys sign
    with PSS in TLS 1.3 (RFC 8446, section 4.2.3), and in 1.2 with what both ends prefer, which for OpenSSL is PSS too,
    and PKCS#1 for clients that have no PSS.
    """
    workload, tls = arm.workload, arm.tls
    if tls is None or workload.key is None:
        return (workload.mechanism,) if workload.mechanism else ()
    if tls.bridge != "direct" or tls.key_exchange == "rsa":
        return ()
    if KEYS[workload.key].type == "EC":
        return ("ECDSA",)
    return ("RSA_PKCS_PSS",) if tls.version == "1.3" else ("RSA_PKCS_PSS", "RSA_PKCS")
