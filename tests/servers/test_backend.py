"""The backend of stunnel: it accepts and closes, and ends when it is asked to."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from lab import program
from lab.process.beside import Beside
from lab.record.order import BesideOrder


def test_it_closes_what_it_accepts_until_it_is_asked_to_end(private: Path) -> None:
    path = str(private / "backend.sock")
    beside = Beside.start(BesideOrder(tuple(program.command("lab.servers.backend", path)), {}, None, path))
    try:
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                assert client.recv(1) == b""
        assert Path(path).stat().st_mode & 0o777 == 0o666  # connect() asks for the right to write
    finally:
        beside.end()
    assert beside.started.returncode == -signal.SIGTERM
