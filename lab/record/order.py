"""What a trial root is told: everything it needs and nothing that it would have to decide.

It travels as JSON through a pipe, because it carries the PIN, which must not stand in a file or on a command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

ARRIVALS: Final = "arrivals.i64"
"""File in the trial's folder with the instants of an open loop, ns after the release, of all threads or generators."""

_GIVE_UP_BEFORE_DEADLINE_NS: Final = 500_000_000


@dataclass(frozen=True)
class TokenOrder:
    """Where the key is, and how to get at it. `module` is what processes load: the tap, which loads the real module."""

    module: str
    token_label: str
    key_label: str
    pin: str = field(repr=False)
    init_string: str | None = None


@dataclass(frozen=True)
class ContextOrder:
    policy: Literal["shared", "per-process", "reinit", "broker"]
    inherit: Literal["sessions", "context"]
    session: Literal["per-thread", "per-process", "pool", "per-operation"]  # engine, provider: their own business
    pool_size: int
    locking: Literal["os", "none"]


@dataclass(frozen=True)
class HostOrder:
    """One virtual host. The client asks for `name` (SNI) at `address`, and accepts no certificate but this one."""

    name: str
    address: str
    key_label: str
    certificate: str  # PEM; "" for a server that the lab did not start
    public_key: str = ""  # PEM


@dataclass(frozen=True)
class IntrudersOrder:
    """Connections that are no handshakes, spread evenly over the load, of each kind."""

    silent: int = 0  # connect and say nothing
    rubbish: int = 0  # send what is not TLS
    reset: int = 0  # reset in the middle of the ClientHello
    mismatch: int = 0  # offer no cipher that the server has


@dataclass(frozen=True)
class TlsOrder:
    server: Literal["lab", "external", "httpd", "nginx", "stunnel"]
    bridge: Literal["direct", "engine", "provider", "software"] | None
    bridge_library: str | None  # engine, provider: the shared object that OpenSSL loads
    bridge_config: str | None  # provider: the openssl.cnf that says so, which holds no PIN
    software_keys: tuple[str, ...] = field(repr=False)  # bridge software: a PEM for each host
    version: Literal["1.2", "1.3"]
    key_exchange: Literal["ecdhe", "rsa"]
    ciphers: str | None
    hosts: tuple[HostOrder, ...]
    port: int  # 0: the root takes any that is free
    vhost_by: Literal["sni", "ip"]
    resumption: Literal["off", "shared", "per-process"]
    ticket_key: str = field(repr=False)  # resumption shared: 80 bytes in hex
    timeout_ns: int  # of one handshake, on either side
    trust: str | None  # external: file of trusted certificates; None: the system's
    connections_per_child: int  # 0: no end
    generators: int
    clients: int  # closed loop: of all generators together; open loop: the most connections that one generator has open
    intruders: IntrudersOrder
    tag_key: str = field(default="", repr=False)
    """Hex, of the tap: with it a client tags the signature that it got as the tap tags it; "": there is no tap."""


@dataclass(frozen=True)
class BesideOrder:
    """A program that a trial needs beside it, such as the owner of a broker's token. Started first and ended last."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # on top of the trial's own
    user: str | None  # whom it is started as; None: as the lab
    ready: str  # path of a file or socket that the program makes, or writes again, when it is ready
    owner: bool = False  # it calls the module for the others, so that each of their calls is seen once more


@dataclass(frozen=True)
class ServerOrder:
    """A real server, as the trial root starts it. The root knows none of them by name: all is decided here.

    It is ready when it listens at each of `addresses`, at the trial's port, and has said so in its log.
    """

    name: Literal["httpd", "nginx", "stunnel"]
    command: tuple[str, ...]  # holds no secret: everybody can read it
    environment: Mapping[str, str] = field(repr=False)  # on top of the trial's own
    user: str | None  # whom it is started as; None: as the lab
    foreground: bool  # False: the command ends when the daemon is there
    pid_file: str  # where it notes its master
    addresses: tuple[str, ...]
    says_ready: tuple[str, str]  # file, and a text in it; some listen before they have read their key
    console: str  # file that takes what it writes to stdout and stderr
    logs: tuple[str, ...]  # files in which it says what went wrong, the most telling first
    stop_signal: int  # asks its master to end all at once
    reload_signal: int  # asks its master to read its configuration again, and to let connections end
    reload_at_ns: int | None  # after the release
    kill_at_ns: int | None  # after the release: SIGKILL to one of its workers
    beside: tuple[BesideOrder, ...] = ()  # what the server needs


@dataclass(frozen=True)
class TrialOrder:
    """One trial. Times are lengths, except deadline_ns, an instant of CLOCK_MONOTONIC."""

    folder: str
    kind: Literal["prefork", "worker", "event", "threads", "spawn"]
    processes: int
    threads: int
    fork_point: Literal["idle", "threads-busy", "mid-operation"]
    busy_threads: int
    start: Literal["staggered", "herd"]
    workload: Literal["null", "sign", "random", "session-churn", "handshake"]
    driver: Literal["native", "python-pkcs11"]
    key: str | None
    mechanism: str | None
    token: TokenOrder | None
    context: ContextOrder | None
    open_loop: bool
    arrivals: tuple[int, ...]  # open loop: of each thread (handshake: generator), as in arrivals.i64 in the folder
    warmup_ns: int
    duration_ns: int
    capacity: int  # rows of one process
    deadline_ns: int
    seed: int
    tls: TlsOrder | None = None
    server: ServerOrder | None = None
    beside: tuple[BesideOrder, ...] = ()  # what the token needs
    mounts: tuple[tuple[str, str], ...] = ()  # folders that lie over others for the trial alone: source, target

    @property
    def give_up_ns(self) -> int:
        """Instant of CLOCK_MONOTONIC after which no operation is begun any more, so that what is under way can end."""
        return self.deadline_ns - _GIVE_UP_BEFORE_DEADLINE_NS

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> TrialOrder:
        data = json.loads(text)
        data["token"] = data["token"] and TokenOrder(**data["token"])
        data["context"] = data["context"] and ContextOrder(**data["context"])
        data["arrivals"] = tuple(data["arrivals"])
        if tls := data["tls"]:
            hosts = tuple(HostOrder(**host) for host in tls["hosts"])
            intruders = IntrudersOrder(**tls["intruders"])
            keys = tuple(tls["software_keys"])
            data["tls"] = TlsOrder(**{**tls, "hosts": hosts, "intruders": intruders, "software_keys": keys})
        if server := data["server"]:
            data["server"] = ServerOrder(
                **{
                    **server,
                    "command": tuple(server["command"]),
                    "addresses": tuple(server["addresses"]),
                    "says_ready": tuple(server["says_ready"]),
                    "logs": tuple(server["logs"]),
                    "beside": beside_from(server["beside"]),
                }
            )
        data["beside"] = beside_from(data["beside"])
        data["mounts"] = mounts_from(data["mounts"])
        return TrialOrder(**data)


def beside_from(data: Iterable[Mapping[str, Any]]) -> tuple[BesideOrder, ...]:
    """From what JSON made of them."""
    return tuple(BesideOrder(**{**each, "command": tuple(each["command"])}) for each in data)


def mounts_from(data: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    """From what JSON made of them."""
    return tuple((source, target) for source, target in data)
