"""What must hold of servers, addresses, ports, ciphers and trusted certificates before handshakes start."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import ssl
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.errors import ScenarioError
from lab.scenario import Arm, RealServer, Tls
from lab.servers.kinds import server_of
from lab.tokens.certificates import Authority
from lab.topology.hosts import host_addresses

_EXCHANGES: Final = {"ecdhe": "kECDHE:!aNULL:!eNULL", "rsa": "kRSA:!eNULL"}
"""OpenSSL's cipher lists of all ciphers with a key exchange, openssl-ciphers(1)."""

_EXAMPLES: Final = {
    ("ecdhe", "ec"): "ECDHE-ECDSA-AES128-GCM-SHA256",
    ("ecdhe", "rsa"): "ECDHE-RSA-AES128-GCM-SHA256",
    ("rsa", "rsa"): "AES128-GCM-SHA256",
}
_FLIGHTS: Final = 8  # more than a handshake has


def check(arms: Iterable[Arm], file: str, folder: Path | None = None) -> None:
    """Raises ScenarioError, `file: arm "a": tls.KEY: ...`, at the first thing that cannot work.

    Listens on the lab's own addresses for a moment. `folder` is the run's private one (default: where temporary files
    go): a throw-away key lies in it meanwhile.
    """
    for arm in arms:
        tls = arm.tls
        if tls is None:
            continue
        try:
            if tls.server == "external":
                _check_address(tls)
                _check_trust(tls)
                continue
            if arm.server is not None:
                server_of(tls.server).check(arm)
                _check_user(arm.server, folder or Path(tempfile.gettempdir()))
            if tls.port is not None:
                _check_port(tls.port, host_addresses(tls))
            if tls.ciphers is not None:
                assert arm.workload.key is not None  # resolved
                _check_ciphers(tls.ciphers, tls.key_exchange or "ecdhe", arm.workload.key, folder)
        except ScenarioError as error:
            raise ScenarioError(f'{file}: arm "{arm.name}": {error}') from None


def _check_address(tls: Tls) -> None:
    try:
        socket.getaddrinfo(tls.host, tls.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "no name of a host"
        raise ScenarioError(f"tls.host: {tls.host} has no address: {why}") from None


def _check_user(server: RealServer, folder: Path) -> None:
    """The user that its workers become, where the lab is root and they can, and their way to the token.

    Without one they would serve, and each signature would fail as if the token were to blame.
    """
    if os.geteuid() != 0 or server.user is None:
        return
    try:
        user = pwd.getpwnam(server.user)
    except KeyError:
        raise ScenarioError(f"server.user: {server.user} is no user of this machine; use such as nobody") from None
    for above in folder.resolve().parents:
        if not _may_pass(user, above.stat()):
            raise ScenarioError(
                f"server.user: {server.user} cannot get to temporary files, because {above} is closed to it; "
                "set TMPDIR to a folder that it can get to, such as /tmp"
            )


def _may_pass(user: pwd.struct_passwd, folder: os.stat_result) -> bool:
    if folder.st_uid == user.pw_uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)


def _check_trust(tls: Tls) -> None:
    if tls.trust is None:
        return
    try:
        ssl.create_default_context(cafile=tls.trust)
    except ssl.SSLError:
        raise ScenarioError(f"tls.trust: {tls.trust} holds no PEM certificate") from None
    except OSError as error:
        raise ScenarioError(f"tls.trust: cannot read {tls.trust}: {error.strerror}") from None


def _check_port(port: int, addresses: Iterable[str]) -> None:
    for address in dict.fromkeys(addresses):
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            # as the server itself does, so that connections that wait for their end are no obstacle
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                probe.listen(1)
            except OSError as error:
                why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
                raise ScenarioError(
                    f"tls.port: {port} {why} at {address}; use another, or leave it out for any that is free"
                ) from None


def _check_ciphers(ciphers: str, exchange: str, kind: str, folder: Path | None) -> None:
    """One handshake in memory, with a throw-away key of the same kind. RSA is of 2048 bits: ciphers are the same."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers(_EXCHANGES[exchange])
    try:
        server.set_ciphers(ciphers)
    except ssl.SSLError:
        raise ScenarioError(
            f'tls.ciphers: "{ciphers}" names no cipher that this OpenSSL has; see openssl ciphers'
        ) from None
    with tempfile.TemporaryDirectory(prefix="lab-token-", dir=folder) as temporary:
        pem = Path(temporary) / "server.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(_throw_away(kind))
        server.load_cert_chain(pem)
    try:
        for _ in _handshake(server, client):
            pass
    except ssl.SSLError:
        example = _EXAMPLES[exchange, kind.partition("-")[0]]
        raise ScenarioError(
            f'tls.ciphers: no shared cipher: "{ciphers}" has none with key_exchange = "{exchange}" for a key of kind '
            f"{kind}; use a list with such as {example}"
        ) from None


def _throw_away(kind: str) -> bytes:
    """A private key and a certificate for it, PEM."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if kind.startswith("rsa"):
        key = rsa.generate_private_key(65537, 2048)
    else:
        key = ec.generate_private_key(ec.SECP256R1() if kind == "ec-p256" else ec.SECP384R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + Authority().leaf(public, ["host-0.lab.test"]).encode()


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> Iterator[None]:
    """Both ends by turns until both are done. Raises SSLError where they do not agree."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
    for _ in range(_FLIGHTS):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass  # it is the other's turn
        yield
