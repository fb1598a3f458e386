"""What a test of the TLS server needs: keys and certificates, a server in threads of this process, and clients."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from lab.native.serving import Mode, Server, Tls
from lab.record.dtypes import CONNECTION
from lab.record.rowfile import RowFile, read_rows

LOOPBACK: Final = "127.0.0.1"
CAPACITY: Final = 1 << 12
LONG_NS: Final = 60 * 10**9
"""A time-out that no test reaches."""
CLIENT_S: Final = 60
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
Rows = npt.NDArray[Any]


def private_key(kind: str) -> str:
    """A new key in PEM, of kind "ec" or "rsa"."""
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public_key(private_pem: str) -> str:
    key = serialization.load_pem_private_key(private_pem.encode(), None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def certificate(public_pem: str, name: str) -> str:
    """A certificate for that key, from an authority that is forgotten at once: clients compare it as a whole."""
    authority = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    key: Any = serialization.load_pem_public_key(public_pem.encode())
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forgotten")]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def host_name(host: int) -> str:
    return f"host-{host}.lab.test"


def client_context(version: str = "1.3", ciphers: str | None = None) -> ssl.SSLContext:
    """Takes any certificate: a test looks at it itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = VERSIONS[version]
    if ciphers:
        context.set_ciphers(ciphers)
    return context


@dataclass
class Greeting:
    """What a client got: the certificate in PEM, cipher, whether a session was resumed, and its own port."""

    certificate: str
    cipher: str
    resumed: bool
    port: int
    session: ssl.SSLSession | None


def greet(
    address: tuple[str, int],
    context: ssl.SSLContext,
    name: str | None = None,
    session: ssl.SSLSession | None = None,
) -> Greeting:
    """A handshake, and then what the server sends until it closes. Raises OSError (also ssl.SSLError)."""
    with socket.create_connection(address, timeout=CLIENT_S) as raw:
        port = raw.getsockname()[1]
        with context.wrap_socket(raw, server_hostname=name, session=session, suppress_ragged_eofs=False) as tls:
            der = tls.getpeercert(binary_form=True) or b""
            assert tls.recv(1) == b""  # a close_notify: without one this raises; on the way it reads tickets
            cipher = tls.cipher()
            return Greeting(
                ssl.DER_cert_to_PEM_cert(der), cipher[0] if cipher else "", bool(tls.session_reused), port, tls.session
            )


def listener(address: str = LOOPBACK, port: int = 0) -> socket.socket:
    return socket.create_server((address, port), backlog=128)


def host_keys(kinds: Sequence[str]) -> list[str]:
    return [private_key(kind) for kind in kinds]


def software(kinds: Sequence[str] = ("ec",), *, names: bool | None = None, **settings: Any) -> tuple[Tls, list[str]]:
    """A Tls with keys in memory, and the certificate of each host. Names are for SNI: by default for several hosts."""
    tls = Tls("software", hosts=len(kinds), **settings)
    tls.load()
    certificates = []
    for host, private in enumerate(host_keys(kinds)):
        certificates.append(certificate(public_key(private), host_name(host)))
        tls.key(host, private)
        named = len(kinds) > 1 if names is None else names
        tls.context(host, certificates[host], host_name(host) if named else None)
    return tls, certificates


@dataclass
class Serving:
    """A server that runs in threads of this process."""

    server: Server
    addresses: list[tuple[str, int]]
    path: Path
    threads: list[threading.Thread] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        return self.addresses[0]

    def start(self, threads: int, most_connections: int) -> None:
        def run(thread: int) -> None:
            self.counts[thread] = self.server.run(thread, most_connections)

        self.threads = [threading.Thread(target=run, args=(thread,), daemon=True) for thread in range(threads)]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        """Waits for all threads, which must be about to end."""
        for thread in self.threads:
            thread.join(CLIENT_S)
            assert not thread.is_alive()

    def stop(self) -> None:
        self.server.stop()
        self.join()

    def file(self) -> RowFile:
        file = read_rows(self.path, CONNECTION)
        assert file is not None
        return file

    def rows(self) -> Rows:
        """In the order of accept(), as one thread has it."""
        return self.file().rows


@contextmanager
def serving(
    tls: Tls,
    folder: Path,
    mode: Mode = "blocking",
    *,
    hosts: Sequence[str] = (LOOPBACK,),
    threads: int = 1,
    timeout_ns: int = LONG_NS,
    capacity: int = CAPACITY,
    most_connections: int = 0,
) -> Iterator[Serving]:
    """Serves on loopback, host i on the i-th address, until the block ends."""
    sockets = [listener(hosts[0])]
    port = sockets[0].getsockname()[1]
    sockets += [listener(address, port) for address in hosts[1:]]
    server = Server(folder, 1, capacity, tls, timeout_ns)
    running = Serving(server, [(address, port) for address in hosts], folder / "connections-1.rows")
    try:
        server.listen(mode, [(raw.fileno(), host) for host, raw in enumerate(sockets)])
        running.start(threads, most_connections)
        yield running
    finally:
        running.stop()
        server.close()
        tls.close()
        for raw in sockets:
            raw.close()


def try_to_greet(address: tuple[str, int], context: ssl.SSLContext) -> None:
    """A handshake that may fail: the row is what is looked at."""
    with suppress(OSError):
        greet(address, context)


def is_stamped(rows: Rows) -> bool:
    """Whether the steps of each row are in order and lie within it."""
    for row in rows:
        steps = min(int(row["steps"]), 4)
        stamps = [row[f"step{n}_{edge}_ns"] for n in range(1, steps + 1) for edge in ("started", "ended")]
        inside = [row["opened_ns"], *stamps, row["ended_ns"]]
        rest = [row[f"step{n}_{edge}_ns"] for n in range(steps + 1, 5) for edge in ("started", "ended")]
        if np.any(np.diff(np.array(inside)) < 0) or any(rest):
            return False
    return True
