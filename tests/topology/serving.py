"""What the tests of dying servers share: their shapes and loads, and what holds whoever died."""

from __future__ import annotations

import errno
import socket
from time import monotonic, sleep

import psutil

from tests.combined import Sealed
from tests.runs import balanced

HANDSHAKES = '[workload]\nkind = "handshake"\n'
RELOADED = '[context]\npolicy = "reinit"\n'  # the root maps the module too, so it can tell who is a child
OPEN = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 200\nwarmup_s = 0\nduration_s = 0.5\n'
SHAPES = {
    "prefork": 'kind = "prefork"\nprocesses = 3\n',
    "worker": 'kind = "worker"\nprocesses = 3\nthreads = 2\n',
    "event": 'kind = "event"\nprocesses = 3\n',
}
HERE = ("127.0.0.1",)
IN_WORDS = {"reset (ECONNRESET)", "closed in mid-handshake", "timed out (ETIMEDOUT)"}
"""What a client may see of a server that dies: its own sockets are closed by the kernel, or by nobody."""


def balanced_and_joined(one: Sealed) -> None:
    assert balanced(one.arm)
    assert one.arm["ok"] > 0
    assert one.arm["shed"] == one.arm["info"] == 0
    assert one.arm["connections"]["join_share"] == 1.0
    assert one.trial["lost_rows"] == 0


def is_free(port: int) -> None:
    """Fails where a listener has it, or a connection of it waits for its end (TIME_WAIT).

    A connection that was just reset is given time to go, since a busy kernel delivers even on loopback some moments
    later; TIME_WAIT lasts for 60 s.
    """
    deadline = monotonic() + 10
    while _is_taken(port):
        assert monotonic() < deadline, [c for c in psutil.net_connections() if c.laddr and c.laddr.port == port]
        sleep(0.05)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))  # no SO_REUSEADDR
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return any(c.laddr and c.laddr.port == port for c in psutil.net_connections("tcp4"))
