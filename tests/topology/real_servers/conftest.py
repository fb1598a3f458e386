"""Scenarios of real servers, a folder that their workers can pass, and a server of the system's own."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.external_servers import apache, identity
from tests.runs import Place

PASSABLE = 0o711
WRONG_PIN = "4711-of-nobody"
SHORT = '[load]\narrivals = "paced"\nrate_hz = 50\nwarmup_s = 0\nduration_s = 0.2\n'
LONG = '[load]\narrivals = "paced"\nrate_hz = 100\nwarmup_s = 0\nduration_s = 30\n'
BEGUN = 12  # handshakes of the generator, from when on it is in its load
KINDS = {
    "httpd": '[tls]\nserver = "httpd"\n[topology]\nkind = "prefork"\nprocesses = 2\n',
    "httpd event daemon": (
        '[tls]\nserver = "httpd"\n[server]\nforeground = false\n[context]\nlocking = "os"\n'
        '[topology]\nkind = "event"\nprocesses = 2\nthreads = 2\n'
    ),
    "nginx": '[tls]\nserver = "nginx"\n[topology]\nprocesses = 2\n',
    "nginx daemon remote": (
        '[tls]\nserver = "nginx"\n[server]\nforeground = false\n[topology]\nprocesses = 1\n'
        '[token]\nkind = "p11kit-remote"\n'
    ),
    "stunnel daemon": '[tls]\nserver = "stunnel"\n[server]\nforeground = false\n',
}


def scenario(tables: str, load: str = SHORT, blocks: int = 1) -> str:
    return f'blocks = {blocks}\n[workload]\nkind = "handshake"\n{tables}{load}'


@pytest.fixture
def opened() -> Iterator[Path]:
    """A temporary folder that a server's workers can get to, as they cannot to the test's own."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        Path(folder).chmod(PASSABLE)
        yield Path(folder)


@pytest.fixture
def place(tmp_path: Path, opened: Path) -> Place:
    """Its run folder is closed to a server's workers."""
    assert any(not above.stat().st_mode & 0o001 for above in tmp_path.parents)
    return Place(tmp_path, opened)


@pytest.fixture(scope="module")
def system_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, set[int]]]:
    """An httpd that is not the lab's, with a ServerRoot of its own: its port and its processes."""
    folder = tmp_path_factory.mktemp("system")
    with apache(identity(folder / "own", "system.test"), folder / "root") as port:
        yield port, processes_at(folder / "root")


def processes_at(root: Path) -> set[int]:
    """Of the httpd whose pid file is in a folder."""
    master = psutil.Process(int((root / "httpd.pid").read_text()))
    return {master.pid, *(child.pid for child in master.children(recursive=True))}


def listened_at(port: int) -> bool:
    return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in psutil.net_connections("tcp4"))


@pytest.fixture(autouse=True)
def _others_are_left_alone(system_server: tuple[int, set[int]]) -> Iterator[None]:
    yield
    port, processes = system_server
    assert all(psutil.pid_exists(pid) and psutil.Process(pid).name() == "apache2" for pid in processes)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain):
        pass


# which do not start
