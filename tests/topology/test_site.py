"""What of a real server's logs is kept, and which of its processes hang."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import pytest

from lab.servers.model import Entry, ServerLog
from lab.tokens.model import Secret
from lab.topology import site
from lab.topology.site import free_port
from lab.topology.watch import Seen

PIN = Secret("1/2 3")
S = 1_000_000_000


def test_a_log_that_is_kept_has_no_pin_in_either_spelling_and_no_line_of_a_connection(tmp_path: Path) -> None:
    log, folder = tmp_path / "error.log", tmp_path / "trial"
    folder.mkdir()
    spelt = (PIN.reveal(), quote(PIN.reveal(), safe=""))
    log.write_text("".join(f"[emerg] pin-value={pin}\n" for pin in spelt) + "[debug] 1#1: *1 accept\n")
    site._keep(log, folder, PIN)
    kept = (folder / "server-error.log").read_text()
    assert kept == "[emerg] pin-value=(PIN)\n" * 2


def test_a_log_that_is_a_link_is_none(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root's own\n")
    (tmp_path / "error.log").symlink_to(tmp_path / "secret")
    folder = tmp_path / "trial"
    folder.mkdir()
    site._keep(tmp_path / "error.log", folder, PIN)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("gone_s", "end"), [(10, "hang"), (4, "unknown")])
def test_a_process_hangs_that_leaves_a_connection_open_for_longer_than_a_client_waits(gone_s: int, end: str) -> None:
    seen = Seen(2, 100, None, end="unknown", born_ns=1, gone_ns=gone_s * S)
    other = Seen(3, 101, None, end="unknown", born_ns=1, gone_ns=gone_s * S)
    watch = cast(Any, SimpleNamespace(seen={2: seen, 3: other}))
    real = cast(Any, SimpleNamespace(site=SimpleNamespace(arm=SimpleNamespace(tls=SimpleNamespace(timeout_s=5.0)))))
    real.realtime_ns = 7 * S
    opened = 8 * S  # a second on CLOCK_MONOTONIC
    log = ServerLog((Entry(100, 1, opened, None, False), Entry(101, 2, opened, opened + S, True)))
    site._note_stuck(watch, log, real)
    assert (seen.end, other.end) == (end, "unknown")


def test_a_port_that_somebody_has_is_not_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_port(["127.0.0.2", "127.0.0.3"])
    with socket.create_server(("127.0.0.3", 0)) as other:
        taken = other.getsockname()[1]
        drawn = iter([taken - site._FIRST_PORT, free - site._FIRST_PORT])
        monkeypatch.setattr(site.secrets, "randbelow", lambda most: next(drawn))
        assert free_port(["127.0.0.2", "127.0.0.3"]) == free
