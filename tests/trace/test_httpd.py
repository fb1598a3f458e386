"""A user's own httpd, as a daemon whose workers are another user, with its key in the token."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.tokens.certificates import Authority
from lab.tokens.model import TokenAccess
from lab.tokens.softhsm import SoftHsm
from tests.runs import LOOK_AGAIN_S, Place
from tests.tokens.conftest import Settings
from tests.traces import Tracing

MODULES = Path("/usr/lib/apache2/modules")
USER = "www-data"
CONFIGURATION = """
ServerRoot "{root}"
ServerName localhost
DefaultRuntimeDir "{root}"
PidFile "{root}/httpd.pid"
ErrorLog "{root}/error.log"
Listen 127.0.0.1:{port}
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
User {user}
Group {user}
StartServers 2
MinSpareServers 1
MaxSpareServers 2
SSLCryptoDevice pkcs11
SSLSessionCache none
SSLEngine on
SSLCertificateFile "{root}/certificate.pem"
SSLCertificateKeyFile "{key}"
"""


@pytest.fixture
def server_root() -> Iterator[Path]:
    """A folder that the workers' user can get to, as pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="lab-test-httpd-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def token(server_root: Path) -> Iterator[tuple[TokenAccess, str]]:
    """A token of the workers' user, and a certificate for its key."""
    token = SoftHsm(Settings(reset_on_fork=True))
    prepared = token.prepare(frozenset({"ec-p256"}), server_root / "golden")
    access = token.restore(server_root / "token", "ec-p256")
    if os.geteuid() == 0:
        for path in (server_root / "token", *(server_root / "token").rglob("*")):
            shutil.chown(path, USER, USER)
    yield access, Authority().leaf(prepared.keys["ec-p256"].public_pem, ["localhost"])
    token.retire()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _handshake(port: int, running: subprocess.Popen[str]) -> str | None:
    """One TLS handshake, as soon as the server listens."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while running.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as tls:
                return tls.version()
        except ConnectionRefusedError:
            try:
                running.wait(LOOK_AGAIN_S)
            except subprocess.TimeoutExpired:
                continue
    raise AssertionError(f"httpd never listened: {running.communicate()}")


@pytest.mark.parametrize(
    "reachable", [True, False], ids=["in an open folder", "in a folder that its workers cannot reach"]
)
def test_a_daemonised_httpd_is_followed_and_its_workers_calls_are_recorded(
    reachable: bool, server_root: Path, token: tuple[TokenAccess, str]
) -> None:
    access, certificate = token
    folder = server_root / "lab"
    folder.mkdir(mode=0o755 if reachable else 0o700)
    tracing = Tracing(Place(folder), access)
    port = _free_port()
    (server_root / "certificate.pem").write_text(certificate)
    (server_root / "httpd.conf").write_text(
        CONFIGURATION.format(root=server_root, port=port, modules=MODULES, user=USER, key=tracing.uri())
    )
    running = tracing.start(
        *("/usr/sbin/apache2", "-f", str(server_root / "httpd.conf")),
        environment={} if reachable else {"TMPDIR": str(server_root)},
    )
    try:
        assert _handshake(port, running) == "TLSv1.3"
    finally:
        if (server_root / "httpd.pid").exists():
            os.kill(int((server_root / "httpd.pid").read_text()), signal.SIGTERM)
    _, err = running.communicate()
    assert running.returncode == 0, err
    assert "apache2 has ended and left processes behind" in err
    assert "OPENSSL_CONF activates the engine" in err
    assert "are not recorded" not in (server_root / "error.log").read_text()
    callers = [process for process in tracing.processes if process["calls"]]
    assert {process["program"] for process in callers} == {"apache2"}
    signed = tracing.arm["traced"]["calls"]["C_Sign"]
    assert signed["count"] >= 1
    child = next(p for p in callers if p["parent"] != callers[0]["parent"] and p["initialized"])
    assert child["initialized"][0]["answer"] == "CKR_OK", "each child initialises for itself on its first handshake"
    assert child["end"] in {"unknown", "exit"}, "its parent waited for it, or ended first and left it to the lab"
    assert tracing.verdict("no-crash") == "conforms"
    assert tracing.place.leftovers() == []
