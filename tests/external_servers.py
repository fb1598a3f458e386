"""TLS servers that the lab did not start: Python's ssl module, openssl s_server, Apache httpd, and a silent one.

All listen on 127.0.0.1, have their key in a file, and are gone when their `with` block is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.tokens.certificates import Authority

HOST = "127.0.0.1"
PATIENCE_S = 30.0
LOOK_AGAIN_S = 0.05
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
APACHE = shutil.which("apache2", path="/usr/sbin:/usr/bin") or "apache2"
MODULES = Path("/usr/lib/apache2/modules")


@dataclass(frozen=True)
class Identity:
    """A software key and its certificate in one PEM file, and the authority's own certificate in another."""

    pem: Path
    trust: Path


def identity(folder: Path, *names: str, addresses: tuple[str, ...] = (HOST,)) -> Identity:
    """An authority of its own, and a leaf for the names and addresses."""
    folder.mkdir()
    authority, key = Authority(), ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    (folder / "server.pem").write_text(private + authority.leaf(public, names, addresses))
    (folder / "trust.pem").write_text(authority.pem)
    return Identity(folder / "server.pem", folder / "trust.pem")


@contextlib.contextmanager
def python_server(own: Identity, version: str | None = None) -> Iterator[int]:
    """Python's ssl module in a thread, one connection at a time. Yields the port. `version`: the only one it speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.pem)
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    with socket.create_server((HOST, 0), backlog=512) as listener:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return  # shut down
                with contextlib.suppress(OSError), context.wrap_socket(accepted, server_side=True) as connection:
                    connection.settimeout(PATIENCE_S)
                    connection.recv(1)  # the client's close_notify
                    connection.unwrap()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.contextmanager
def s_server(own: Identity, version: str | None = None) -> Iterator[int]:
    """`openssl s_server`, which serves one connection at a time."""
    only = [f"-tls{version.replace('.', '_')}"] if version else []
    command = ["openssl", "s_server", "-accept", f"{HOST}:0", "-cert", own.pem, "-key", own.pem, *only]
    process = subprocess.Popen(  # it ends where its input does
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port = next(int(line.rpartition(":")[2]) for line in process.stdout if line.startswith("ACCEPT"))
        reader = threading.Thread(target=process.stdout.read)  # a full pipe would stop it
        reader.start()
        yield port
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def apache(own: Identity, folder: Path) -> Iterator[int]:
    """Apache httpd, prefork, with a ServerRoot of its own and the key in a file."""
    folder.mkdir()
    port = free_port()
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    needed = ("mpm_prefork", "authz_core", "ssl")
    (folder / "httpd.conf").write_text(
        "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in needed)
        + f"ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/httpd.pid\nErrorLog {folder}/error.log\n"
        f"ServerName {HOST}\nListen {HOST}:{port}\n{user}"
        "StartServers 2\nMinSpareServers 1\nMaxSpareServers 4\nMaxRequestWorkers 8\n"
        "SSLSessionCache none\nSSLEngine on\n"
        f"SSLCertificateFile {own.pem}\nSSLCertificateKeyFile {own.pem}\n"
    )
    command = [APACHE, "-f", folder / "httpd.conf", "-DFOREGROUND"]
    process = subprocess.Popen(  # when it ends it signals its whole process group, so it has one of its own
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not (_listens(port) and _is_up(folder / "error.log")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(LOOK_AGAIN_S)
                raise AssertionError(f"httpd ended with {status}: {(folder / 'error.log').read_text()}")
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Accepts, as far as the kernel does it, and says nothing."""
    with socket.create_server((HOST, 0), backlog=512) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _is_up(log: Path) -> bool:
    """It listens before it has noted its pid and started its children."""
    return log.is_file() and "resuming normal operations" in log.read_text()


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((HOST, port)):
        return True
    return False
