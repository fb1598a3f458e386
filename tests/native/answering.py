"""What a test of the generator needs: servers that answer as they are told, certificates, and a Generator."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.native.generating import Generator, Greeting, Host, Rush
from lab.native.loops import addresses
from lab.record.dtypes import CONNECTION, LAYER, OPERATION
from lab.record.rowfile import RowFile, read_rows

FOREVER_NS: Final = 2**62
NAME: Final = "host-0.lab.test"
MS: Final = 1_000_000
RELEASE_AHEAD_NS: Final = 5 * MS
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Rows = npt.NDArray[np.void]


@dataclass(frozen=True)
class Credential:
    """A certificate that signed itself, with its key in one PEM file."""

    pem: Path
    der: bytes

    def context(self, version: str = "1.3") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        which = ssl.TLSVersion.TLSv1_3 if version == "1.3" else ssl.TLSVersion.TLSv1_2
        context.minimum_version = context.maximum_version = which
        return context


def credential(
    folder: Path, name: str = NAME, address: str = "127.0.0.1", curve: ec.EllipticCurve | None = None
) -> Credential:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address(address))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{certificate.serial_number}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return Credential(pem, certificate.public_bytes(serialization.Encoding.DER))


Answer = Callable[[socket.socket], socket.socket | None]
"""Serves a connection; returns the socket that is now to be closed, where it is not the one that it got."""


class Server:
    """Accepts on loopback and answers each connection in a thread, then closes it. Counts those that are open."""

    def __init__(self, answer: Answer, family: int = socket.AF_INET) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.open = self.most_open = self.accepted = self.closed = 0
        self.listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        self.port = self.listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                end, _ = self.listener.accept()
            except OSError:
                return
            with self._lock:
                self.accepted += 1
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            self._threads.append(threading.Thread(target=self._serve, args=(end,)))
            self._threads[-1].start()

    def _serve(self, end: socket.socket) -> None:
        left = None
        try:
            left = self._answer(end)
        except (OSError, ValueError):
            pass  # clients come to harm in many of these tests
        with self._lock:
            self.open -= 1  # before its client can know
        (left or end).close()
        with self._lock:
            self.closed += 1

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self.listener.close()
        for thread in self._threads:
            thread.join()


@contextmanager
def serving(answer: Answer, family: int = socket.AF_INET) -> Iterator[Server]:
    server = Server(answer, family)
    try:
        yield server
    finally:
        server.close()


def shake(context: ssl.SSLContext) -> Answer:
    """A handshake and nothing more."""

    def answer(end: socket.socket) -> socket.socket:
        return context.wrap_socket(end, server_side=True)

    return answer


def say(words: bytes) -> Answer:
    """These bytes in answer to the ClientHello, and then the end."""

    def answer(end: socket.socket) -> None:
        end.recv(4096)
        end.sendall(words)

    return answer


def reset(end: socket.socket) -> None:
    end.recv(4096)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def say_nothing(end: socket.socket) -> None:
    while end.recv(4096):
        pass


@dataclass(frozen=True)
class Party:
    """One process's generator and what it wrote."""

    folder: Path
    generator: Generator

    def operations(self) -> RowFile:
        file = read_rows(self.folder / f"operations-{self.generator.process}.rows", OPERATION)
        assert file is not None
        return file

    def connections(self) -> RowFile:
        file = read_rows(self.folder / f"connections-{self.generator.process}.rows", CONNECTION)
        assert file is not None
        return file

    def open_loop(self, arrivals: Sequence[int], slots: int = 4, **changes: Any) -> int:
        offsets = memoryview(bytearray(np.array(arrivals, "<i8").tobytes()))
        (part,) = addresses(offsets, [len(arrivals)])
        return self.generator.run(replace(rush(slots), arrivals=part, **changes))

    def closed_loop(self, duration_ns: int, slots: int = 4, **changes: Any) -> int:
        return self.generator.run(replace(rush(slots), duration_ns=duration_ns, **changes))


def rush(slots: int) -> Rush:
    return Rush(time.monotonic_ns(), 0, 0, FOREVER_NS, slots)


@contextmanager
def party(folder: Path, greeting: Greeting, capacity: int = 10_000) -> Iterator[Party]:
    generator = Generator(folder, 1, capacity)
    try:
        generator.set(greeting)
        yield Party(folder, generator)
    finally:
        generator.close()


def greet(port: int, certificate: bytes | None, **changes: Any) -> Greeting:
    """A greeting of one host at 127.0.0.1."""
    return replace(Greeting((Host(NAME, "127.0.0.1", port, certificate),)), **changes)


def ends(rows: Rows) -> set[tuple[int, int]]:
    """Layers and codes that occur."""
    return set(zip(rows["layer"].tolist(), rows["code"].tolist(), strict=True))


def network(error: int) -> set[tuple[int, int]]:
    return {(LAYER["network"], error)}


def tls(code: int) -> set[tuple[int, int]]:
    return {(LAYER["tls"], code)}
