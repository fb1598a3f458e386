"""From what a real server's log tells to rows of connections, as a server of the lab's own would have written them.

The log knows the client's port, the client's row has port and ClientHello.random; so the server's row gets the random
of the client that had this port at that time, and from there on both kinds of servers are joined alike. A connection
without a client of ours keeps 0 and counts as a stranger. Where the log's times are whole seconds, the client's own are
taken: its story then has no wait for accept and no way back apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.record.dtypes import BEGUN, CONNECTION, ENDED, LAYER, NETWORK, SIDE, TLS
from lab.servers.model import Entry

_BEFORE_NS: Final = 2_000_000_000
"""A line of the log that is this much earlier than a client is not of its connection, although of its port.

Logs have whole seconds. A line may be later by any time: the kernel keeps a connection until somebody accepts it.
"""


def rows_by_pid(
    entries: Iterable[Entry], clients: NDArray[Any], realtime_ns: int, threads: Mapping[int, Iterable[int]]
) -> dict[int, NDArray[Any]]:
    """Rows of dtypes.CONNECTION by the pid of the server's process, each ascending in time.

    clients: rows of all generators. realtime_ns: CLOCK_REALTIME - CLOCK_MONOTONIC. threads: kernel thread ids that are
    known of a process, of which the one thread is meant where the log names none.
    """
    by_pid: dict[int, list[tuple[Any, ...]]] = {}
    ports = _Ports(clients)
    for entry in sorted(entries, key=lambda each: each.opened_ns):
        opened_ns = entry.opened_ns - realtime_ns
        client = ports.take(entry.port, opened_ns)
        by_pid.setdefault(entry.pid, []).append(_row(entry, realtime_ns, client, threads.get(entry.pid, ())))
    return {pid: _filled(rows) for pid, rows in by_pid.items()}


_FIELDS: Final = (
    *("opened_ns", "ended_ns", "step1_started_ns", "step1_ended_ns"),
    *("random", "tid", "layer", "code", "vhost", "port", "side", "state", "steps", "sequence"),
)


def _filled(rows: list[tuple[Any, ...]]) -> NDArray[Any]:
    filled = np.zeros(len(rows), CONNECTION)
    for name, column in zip(_FIELDS, zip(*rows, strict=True), strict=True):
        filled[name] = column
    filled["sequence"] = np.arange(len(rows))
    return filled


def _row(entry: Entry, realtime_ns: int, client: Any | None, threads: Iterable[int]) -> tuple[Any, ...]:
    opened_ns = entry.opened_ns - realtime_ns
    ended_ns = entry.ended_ns - realtime_ns if entry.ended_ns is not None else 0
    if client is not None and not entry.exact:
        opened_ns, ended_ns = int(client["opened_ns"]), int(client["ended_ns"]) if ended_ns else 0
    only = list(threads)
    tid = entry.tid if entry.tid is not None else only[0] if len(only) == 1 else entry.pid
    layer, code = (0, 0) if entry.well else failure(entry)
    random, vhost = (int(client["random"]), int(client["vhost"])) if client is not None else (0, 0)
    state = ENDED if ended_ns else BEGUN
    return (
        *(opened_ns, ended_ns, opened_ns, ended_ns),
        *(random, tid, layer, code, vhost, entry.port, SIDE["server"], state, 1, 0),
    )


def failure(entry: Entry) -> tuple[int, int]:
    """Layer and code of a failed connection, numbers of rows.def."""
    if entry.alert is not None:
        direction = TLS["alert_sent"] if entry.alert_sent else TLS["alert_received"]
        return LAYER["tls"], direction + entry.alert
    if entry.ckr is not None:
        return LAYER["pkcs11"], entry.ckr
    if entry.code:
        return LAYER["openssl"], entry.code
    return LAYER["network"], NETWORK["closed"]


class _Ports:
    """Clients by their port, each to be taken once."""

    def __init__(self, clients: NDArray[Any]) -> None:
        known = clients[(clients["random"] != 0) & (clients["opened_ns"] != 0)]
        self.clients = known[np.argsort(known["opened_ns"], kind="stable")]
        self.by_port: dict[int, list[int]] = {}
        for place, port in enumerate(self.clients["port"].tolist()):
            self.by_port.setdefault(port, []).append(place)

    def take(self, port: int, at_ns: int) -> Any | None:
        """The client that had this port at the instant, or nearest to it; None where there is none that could be."""
        places = [p for p in self.by_port.get(port, ()) if self._distance_ns(p, at_ns) >= 0]
        if not places:
            return None
        place = min(places, key=lambda p: self._distance_ns(p, at_ns))
        self.by_port[port].remove(place)
        return self.clients[place]

    def _distance_ns(self, place: int, at_ns: int) -> int:
        """From the client's time to the instant: 0 within it, -1 where the instant is too early."""
        opened, ended = int(self.clients["opened_ns"][place]), int(self.clients["ended_ns"][place])
        if at_ns < opened:
            return opened - at_ns if opened - at_ns <= _BEFORE_NS else -1
        return max(0, at_ns - ended) if ended else 0
