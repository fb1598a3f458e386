"""What the trials of a handshake arm are told of TLS: hosts with their certificates, and what the bridge loads."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.errors import LabFault
from lab.native import library
from lab.native.serving import TICKET_KEY_BYTES
from lab.record.order import HostOrder, IntrudersOrder, TlsOrder
from lab.scenario import Arm, Tls
from lab.tokens.bridges import library_for
from lab.tokens.certificates import Authority, read_fitting
from lab.tokens.keys import KEYS
from lab.tokens.model import KeyInfo
from lab.tokens.needs import keys_of
from lab.topology.hosts import host_addresses, host_names

MOST_OPEN: Final = 4_096
"""Connections that a generator of an open loop has at a time; what is due beyond waits, and its response counts on."""

_NS: Final = 1_000_000_000
_SPECIAL: Final = frozenset("$#\\\"'")  # config(5) of OpenSSL: variables, comments, quotes
_CONFIGURATION: Final = """openssl_conf = lab
[lab]
providers = providers
[providers]
default = software
pkcs11 = token
[software]
activate = 1
[token]
module = {library}
pkcs11-module-path = {module}
pkcs11-module-quirks = no-operation-state
pkcs11-module-cache-pins = cache
activate = 1
"""
"""The PIN is no part of it. It is asked for once, and cached, because after a fork there is nobody to ask: servers in
the field have it in their configuration."""


@dataclass(frozen=True)
class Hosts:
    """The virtual hosts of an arm. software_keys: for the bridge `software`, a private key of each, PEM."""

    hosts: tuple[HostOrder, ...]
    software_keys: tuple[str, ...] = field(default=(), repr=False)


@dataclass
class Certificates:
    """The hosts of a run's arms, made once, so that all trials of an arm and all arms with one key have the same."""

    _authority: Authority = field(default_factory=Authority)
    _made: list[tuple[tuple[object, ...], Hosts]] = field(default_factory=list)

    def hosts(self, arm: Arm, keys: Mapping[str, KeyInfo]) -> Hosts | None:
        """The hosts of an arm; None where it makes no handshakes. `keys` are those of its token, by name."""
        tls = arm.tls
        if tls is None:
            return None
        if tls.server == "external":
            assert tls.host is not None  # resolved
            return Hosts((HostOrder(tls.host, tls.host, "", ""),))
        same = (arm.token, arm.workload.key, tls.vhosts, tls.vhost_by, tls.certificate)
        found = next((hosts for what, hosts in self._made if what == same), None)
        if found is None:
            found = self._make(arm, tls, keys)
            self._made.append((same, found))
        return found

    def _make(self, arm: Arm, tls: Tls, keys: Mapping[str, KeyInfo]) -> Hosts:
        private: tuple[str, ...] = ()
        if arm.token is None:
            assert arm.workload.key is not None  # resolved
            pairs = [_software_key(arm.workload.key) for _ in range(tls.vhosts)]
            private, public = tuple(pair[0] for pair in pairs), [(pair[1], "") for pair in pairs]
        else:
            public = [(keys[name].public_pem, keys[name].label) for name in keys_of(arm)]
        hosts = []
        for name, address, (pem, label) in zip(host_names(tls), host_addresses(tls), public, strict=True):
            if tls.certificate is not None:
                certificate = read_fitting(tls.certificate, pem, label)
            else:
                certificate = self._authority.leaf(pem, [name], [address])
            hosts.append(HostOrder(name, address, label, certificate, pem))
        return Hosts(tuple(hosts), private)


def tls_order(arm: Arm, hosts: Hosts, private: Path) -> TlsOrder:
    """The [tls] table as the trial's processes are told it. What the provider loads is written down in `private`."""
    tls, load = arm.tls, arm.load
    assert tls is not None
    bridge_library = library_for(tls)
    configuration = None
    if tls.bridge == "provider" and bridge_library and tls.server == "lab":  # a real server's is a part of its own
        configuration = private / "openssl.cnf"
        configuration.write_text(_configuration(bridge_library, library("tap")))
    intruders = load.intruders
    return TlsOrder(
        server=tls.server,
        bridge=tls.bridge,
        bridge_library=str(bridge_library) if bridge_library else None,
        bridge_config=str(configuration) if configuration else None,
        software_keys=hosts.software_keys,
        version=tls.version,
        key_exchange=tls.key_exchange or "ecdhe",
        ciphers=tls.ciphers,
        hosts=hosts.hosts,
        port=tls.port or 0,
        vhost_by=tls.vhost_by or "sni",
        resumption=tls.resumption or "off",
        ticket_key=secrets.token_hex(TICKET_KEY_BYTES) if tls.resumption == "shared" else "",
        timeout_ns=round(tls.timeout_s * _NS),
        trust=tls.trust,
        connections_per_child=(arm.topology and arm.topology.connections_per_child) or 0,
        generators=load.generators or 1,
        clients=load.clients or MOST_OPEN,
        intruders=IntrudersOrder(**intruders.model_dump()) if intruders else IntrudersOrder(),
    )


def _configuration(provider: Path, module: Path) -> str:
    for path in (provider, module):
        if set(str(path)) & _SPECIAL:
            raise LabFault(f"{path}: openssl.cnf cannot name it, because of one of {' '.join(sorted(_SPECIAL))} in it")
    return _CONFIGURATION.format(library=provider, module=module)


def _software_key(kind: str) -> tuple[str, str]:
    """A private key of a kind, and its public half, both PEM."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if KEYS[kind].type == "RSA":
        key = rsa.generate_private_key(65537, KEYS[kind].bits)
    else:
        key = ec.generate_private_key(ec.SECP256R1() if kind == "ec-p256" else ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()
