"""The sockets that the servers of a trial accept on: made by the root before any fork, as a server's master does."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from lab.errors import LabFault
from lab.record.order import TlsOrder

BACKLOG: Final = 4096  # Linux cuts it to net.core.somaxconn
_TRIES: Final = 20


def addresses(tls: TlsOrder) -> list[str]:
    """The distinct addresses of the hosts, in their order."""
    return list(dict.fromkeys(host.address for host in tls.hosts))


def listen(tls: TlsOrder) -> list[socket.socket]:
    """One listening socket per address, all on the order's port, or on one that is free on all of them.

    Raises LabFault where the port is taken.
    """
    wanted = addresses(tls)
    for _ in range(_TRIES):
        made: list[socket.socket] = []
        port = tls.port
        try:
            for address in wanted:
                made.append(_listener(address, port))
                port = made[-1].getsockname()[1]
            return made
        except OSError as error:
            for one in made:
                one.close()
            if tls.port or error.errno != errno.EADDRINUSE:
                raise LabFault(f"{wanted[len(made)]} port {port}: {os.strerror(error.errno or 0)}") from None
    raise LabFault(f"no port is free on all of {len(wanted)} addresses")


def _listener(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A port whose connections are in TIME_WAIT is free to us; the lab's own client leaves none.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
