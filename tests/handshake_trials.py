"""Trials of handshakes for the summary and what shows it: servers 1 and 2, generator 9, two hosts, and strangers."""

from __future__ import annotations

from typing import Any

from lab.analysis.facts import TrialFacts
from lab.record.dtypes import TLS
from tests.trial_builder import TrialBuilder, generator, record, worker

ARM: dict[str, Any] = {
    "name": "a",
    "token": {"kind": "softhsm"},
    "topology": {"kind": "prefork", "processes": 2, "threads": 1, "connections_per_child": None},
    "context": {"policy": "per-process", "session": "per-thread", "locking": None},
    "workload": {"kind": "handshake", "key": "ec-p256"},
    "tls": {
        "version": "1.3", "bridge": "direct", "server": "lab", "vhosts": 2, "vhost_by": "ip", "resumption": "off",
        "key_exchange": "ecdhe",
    },
    "load": {"mode": "open", "rate_hz": 100.0, "clients": None},
}  # fmt: skip
EXTERNAL: dict[str, Any] = ARM | {
    "token": None,
    "topology": None,
    "context": None,
    "tls": ARM["tls"] | {"server": "external", "bridge": None, "vhosts": 1},
}
NO_SHARED_CIPHER: dict[str, Any] = {"outcome": "fail", "layer": "tls", "code": TLS["no_shared_cipher"]}


def built(handshakes: int = 10) -> TrialBuilder:
    """Each server makes a context per host (find_key 2 ms, tls_context 3 ms), then they take turns; one stranger."""
    builder = TrialBuilder()
    for server in (1, 2):
        for place, function in enumerate(("C_Initialize", "C_OpenSession", "C_Login", "C_FindObjects")):
            builder.call(function, server, at=-200 + place, session=5, key=7, argument=1)
        for host in (0, 1):
            at = -100 + 10 * host
            builder.operation(server, at=at, lasts=2, kind="find_key", phase="setup", vhost=host)
            builder.operation(server, at=at + 2, lasts=3, kind="tls_context", phase="setup", vhost=host)
    for number in range(handshakes):
        server, host = 1 + number % 2, number // 2 % 2
        builder.handshake(1000 + number, at=10 * number, lag=number % 3, server=server, vhost=host, session=50 + host)
    return builder.connection(1, "server", random=5, opened=0, ended=1, **NO_SHARED_CIPHER)


def processes(planned: int, **of_generator: Any) -> list[Any]:
    fields = {"cpu_ns": 250, "busy_ns": 1000} | of_generator
    return [worker(1), worker(2), generator(9, planned, **fields)]


def trial(handshakes: int = 10, **fields: Any) -> TrialFacts:
    return built(handshakes).examine(record(*processes(handshakes), **fields))


def external(handshakes: int = 10, **fields: Any) -> TrialFacts:
    """The same from a server that the lab did not start: only the client's rows are there."""
    builder = TrialBuilder()
    for number in range(handshakes):
        builder.operation(9, number, at=10 * number, lasts=5, kind="handshake")
        builder.connection(9, "client", random=1000 + number, operation=number, opened=10 * number + 1, ended=15)
    return builder.examine(record(generator(9, handshakes), **fields))
