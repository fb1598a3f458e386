"""What an arm says, as far as it decides which other keys apply, and the defaults that other modules need too.

`given` is what an arm says after base tables, [[arm]] and [matrix] are merged: table -> key -> value, each value of the
right type already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab.scenario.models import REAL_SERVERS

Given = Mapping[str, Mapping[str, Any]]

DEFAULT_KEY: Final = "ec-p256"
DEFAULT_RATE_HZ: Final = 100.0
DEFAULT_CLIENTS: Final = 8
DEFAULT_PROCESSES: Final = 4
DEFAULT_THREADS: Final = 4

BEHIND_P11_KIT: Final = ("p11kit-proxy", "p11kit-remote")
"""Token kinds that are another one, reached through p11-kit."""

_KINDS: Final[Mapping[str, str]] = {"httpd": "prefork", "nginx": "event", "stunnel": "threads"}
"""The topology of a real server, unless another is given."""


@dataclass(frozen=True)
class Choice:
    """The values that decide which other keys apply."""

    token: str
    over: str  # the token behind p11-kit; the token itself where there is none
    topology: str
    processes: int
    threads: int
    fork_point: str
    policy: str
    session: str
    workload: str
    key: str
    driver: str
    server: str
    bridge: str
    version: str
    key_exchange: str
    vhosts: int
    handshake_timeout_s: float
    mode: str
    rate_hz: float
    clients: int
    warmup_s: float
    duration_s: float

    @property
    def handshake(self) -> bool:
        return self.workload == "handshake"

    @property
    def external(self) -> bool:
        """The server is not the lab's: the arm has no token, no context and no topology."""
        return self.handshake and self.server == "external"

    @property
    def real(self) -> bool:
        """The server is a program that the lab starts, whose libraries decide what becomes of its context."""
        return self.handshake and self.server in REAL_SERVERS

    @property
    def has_context(self) -> bool:
        """There is a PKCS#11 context, and a token."""
        return self.workload != "null" and not (self.handshake and (self.external or self.bridge == "software"))

    @property
    def decided_by_library(self) -> bool:
        """Sessions and locking are the business of the bridge's library."""
        return self.handshake and self.bridge in ("engine", "provider") and not self.external

    @property
    def uses_key(self) -> bool:
        """A private key of the token is used."""
        return self.has_context and (self.workload == "sign" or self.handshake)

    @property
    def length_s(self) -> float:
        """Of the load, warm-up included."""
        return self.warmup_s + self.duration_s

    @staticmethod
    def of(given: Given) -> Choice:
        topology, workload, tls, load = given["topology"], given["workload"], given["tls"], given["load"]
        server = tls.get("server", "lab")
        real = workload.get("kind") == "handshake" and server in REAL_SERVERS
        kind = topology.get("kind", _KINDS[server] if real else "prefork")
        token = given["token"].get("kind", "softhsm")
        return Choice(
            token=token,
            over=given["token"].get("over", "softhsm") if token in BEHIND_P11_KIT else token,
            topology=kind,
            processes=topology.get("processes", 1 if kind == "threads" else DEFAULT_PROCESSES),
            threads=topology.get("threads", DEFAULT_THREADS if kind in _threaded(server, real) else 1),
            fork_point=topology.get("fork_point", "idle"),
            policy=given["context"].get("policy", "per-process"),
            session=given["context"].get("session", "per-thread"),
            workload=workload.get("kind", "sign"),
            key=workload.get("key", DEFAULT_KEY),
            driver=workload.get("driver", "native"),
            server=server,
            bridge=tls.get("bridge", "engine" if real else "direct"),
            version=tls.get("version", "1.3"),
            key_exchange=tls.get("key_exchange", "ecdhe"),
            vhosts=tls.get("vhosts", 1),
            handshake_timeout_s=tls.get("timeout_s", 5.0),
            mode=load.get("mode", "open"),
            rate_hz=load.get("rate_hz", DEFAULT_RATE_HZ),
            clients=load.get("clients", DEFAULT_CLIENTS),
            warmup_s=load.get("warmup_s", 1.0),
            duration_s=load.get("duration_s", 5.0),
        )


def _threaded(server: str, real: bool) -> tuple[str, ...]:
    """Topologies whose processes have more than one thread unless told otherwise."""
    if real:
        return ("worker", "event") if server == "httpd" else ()
    return ("worker", "threads")
