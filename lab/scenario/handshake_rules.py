"""Which keys go together for handshakes, and which are for nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.scenario.choice import Choice, Given
from lab.scenario.models import MAX_ADDRESSES
from lab.scenario.problems import Problem, show
from lab.scenario.real_server_rules import RSA_ENGINE, real_server

LAB_ONLY: Final = (
    "bridge",
    "bridge_library",
    "certificate",
    "key_exchange",
    "ciphers",
    "vhosts",
    "vhost_by",
    "resumption",
)
"""Keys of [tls] that an external server decides for itself."""

_ONLY_HANDSHAKE: Final = 'only allowed with workload.kind = "handshake"'


def no_handshake(given: Given) -> Iterator[Problem]:
    """Keys that only handshakes have, given for another workload."""
    for key in given["tls"]:
        yield Problem(f"tls.{key}", _ONLY_HANDSHAKE)
    if given["topology"].get("kind") == "event":
        others = "prefork, worker, threads, spawn"
        yield Problem("topology.kind", f'"event" is {_ONLY_HANDSHAKE}; use one of {others}')
    if "connections_per_child" in given["topology"]:
        yield Problem("topology.connections_per_child", _ONLY_HANDSHAKE)
    for key in ("clients", "generators", "intruders"):
        if key in given["load"]:
            why = "; every other has one client per worker thread" if key == "clients" else ""
            yield Problem(f"load.{key}", _ONLY_HANDSHAKE + why)


def handshake(given: Given, choice: Choice) -> Iterator[Problem]:
    """What is impossible about an arm of handshakes."""
    if "driver" in given["workload"]:
        yield Problem("workload.driver", 'not allowed with workload.kind = "handshake"; use tls.bridge')
    if choice.external:
        yield from _external(given)
    else:
        yield from _here(given["tls"], choice)
        yield from real_server(given, choice) if choice.real else _lab(given, choice)
    yield from _version(given["tls"], choice)
    yield from _load(given["load"], choice)


def _external(given: Given) -> Iterator[Problem]:
    """An external server: the lab knows its address, and starts none."""
    tls = given["tls"]
    for key in ("host", "port"):
        if key not in tls:
            yield Problem(f"tls.{key}", 'missing; server = "external" needs it')
    for key in LAB_ONLY:
        if key in tls:
            yield Problem(f"tls.{key}", 'only allowed with server = "lab"; an external server decides it for itself')
    for table in ("topology", "token", "context"):
        for key in given[table]:
            yield Problem(
                f"{table}.{key}",
                f'not allowed with tls.server = "external": the lab starts no server; leave [{table}] out',
            )
    if "key" in given["workload"]:
        yield Problem("workload.key", 'not allowed with tls.server = "external": the server has its own')
    if "intruders" in given["load"]:
        yield Problem("load.intruders", 'only allowed with tls.server = "lab", never against a server of somebody else')


def _here(tls: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    """A server that the lab starts: its hosts and keys."""
    for key in ("host", "trust"):
        if key in tls:
            yield Problem(f"tls.{key}", 'only allowed with server = "external"; the lab\'s server is on this machine')
    if "bridge_library" in tls and not choice.decided_by_library:
        yield Problem(
            "tls.bridge_library",
            f'only allowed with bridge = "engine" or "provider", which load one, and this is "{choice.bridge}"',
        )
    if choice.key_exchange == "rsa" and not choice.key.startswith("rsa"):
        yield Problem(
            "tls.key_exchange", f'"rsa" needs an rsa key, and workload.key is {choice.key}; use rsa-2048, or ecdhe'
        )
    yield from _vhosts(tls, choice)


def _lab(given: Given, choice: Choice) -> Iterator[Problem]:
    """The lab's own server: its bridge and processes."""
    if choice.bridge == "software":
        for table in ("token", "context"):
            for key in given[table]:
                yield Problem(
                    f"{table}.{key}",
                    f'not allowed with tls.bridge = "software", which has no token and no context; '
                    f"leave [{table}] out, or use direct, engine or provider",
                )
    if choice.decided_by_library:
        yield from _library(given["context"], choice.bridge)
    if choice.key_exchange == "rsa" and choice.bridge == "engine":
        yield Problem(
            "tls.key_exchange",
            f'"rsa" is not allowed with bridge = "engine": {RSA_ENGINE}; use ecdhe, or direct, provider, software',
        )
    if "connections_per_child" in given["topology"] and choice.topology == "threads":
        yield Problem(
            "topology.connections_per_child",
            'not allowed with kind = "threads", whose one process has no parent to replace it; '
            "use prefork, worker, event or spawn",
        )


def _library(context: Mapping[str, Any], bridge: str) -> Iterator[Problem]:
    """engine, provider: their libraries open and choose sessions themselves."""
    for key in ("session", "pool_size"):
        if key in context:
            yield Problem(f"context.{key}", f'not allowed with tls.bridge = "{bridge}", which decides it; use direct')
    if context.get("inherit") == "context":
        yield Problem(
            "context.inherit",
            f'"context" is not allowed with tls.bridge = "{bridge}", which opens its sessions itself; '
            "use sessions, or the bridge direct",
        )


def _vhosts(tls: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    if tls.get("vhost_by") == "ip" and choice.vhosts > MAX_ADDRESSES:
        yield Problem(
            "tls.vhosts",
            f'more vhosts than addresses: {choice.vhosts} with vhost_by = "ip", which has 127.0.0.2 to '
            f"127.0.0.{MAX_ADDRESSES + 1}; use at most {MAX_ADDRESSES}, or sni",
        )
    if "certificate" in tls:
        if choice.bridge == "software" or choice.token != "module":
            yield Problem(
                "tls.certificate",
                'only allowed with token.kind = "module"; the lab makes certificates for its own keys',
            )
        elif choice.vhosts > 1:
            yield Problem("tls.certificate", f"is for one virtual host, not {choice.vhosts}; use vhosts = 1")


def _version(tls: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    if choice.version == "1.2" or choice.external:
        return
    if choice.key_exchange == "rsa":
        yield Problem("tls.key_exchange", '"rsa" is not allowed with version = "1.3", which has ecdhe only; use "1.2"')
    if "ciphers" in tls:
        yield Problem("tls.ciphers", 'only allowed with version = "1.2"; the lab leaves those of 1.3 as they are')


def _load(load: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    if choice.mode == "open" and "clients" in load:
        yield Problem("load.clients", 'only allowed with mode = "closed"; in an open loop a backlog is kept')
    generators = load.get("generators", 1)
    if choice.mode == "closed" and generators > choice.clients:
        yield Problem(
            "load.generators",
            f"{show(generators)} generators are more than {choice.clients} clients; use at most one for each client",
        )
