"""What the tests of dying servers share: their shapes and loads, and what holds whoever died."""

from __future__ import annotations

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
    """Fails where a listener has it, somebody holds a connection of it, or one waits for its end (TIME_WAIT).

    A connection that was just reset is given time to go: a busy kernel delivers even on loopback some moments later.
    Where the reset comes while the kernel still closes the socket of a server that died, it is lost, and FIN_WAIT2
    stays for a minute, with nobody at either end.
    """
    deadline = monotonic() + 10
    while held := _held(port):
        assert monotonic() < deadline, held
        sleep(0.05)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the lab's own listener
        probe.bind(("127.0.0.1", port))
        probe.listen()


def _held(port: int) -> list[object]:
    found = [one for one in psutil.net_connections("tcp4") if port in (*one.laddr[1:], *one.raddr[1:])]
    lost = [one for one in found if one.status == psutil.CONN_FIN_WAIT2 and one.pid is None and one.laddr[1] == port]
    return [] if len(lost) == len(found) else [*found]
