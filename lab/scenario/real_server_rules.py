"""Which keys go together for real servers (tls.server = httpd, nginx, stunnel), and which are for nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.scenario.choice import Choice, Given
from lab.scenario.models import REAL_SERVERS
from lab.scenario.problems import Problem

RSA_ENGINE: Final = "OpenSSL 3's libssl decrypts only with keys of a provider, not with those of an ENGINE"

TOPOLOGIES: Final[Mapping[str, tuple[str, ...]]] = {
    "httpd": ("prefork", "worker", "event"),
    "nginx": ("event",),
    "stunnel": ("threads",),
}
"""The shapes that each server can take. Those of httpd are its multi-processing modules."""

_BRIDGES: Final = ("engine", "provider")
_REAL: Final = ", ".join(REAL_SERVERS)


def no_real_server(server: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    """Keys of [server], given for an arm that has no real server."""
    instead = f'this is "{choice.server}"' if choice.handshake else f'workload.kind is "{choice.workload}"'
    for key in server:
        yield Problem(f"server.{key}", f"only allowed for handshakes with tls.server = {_REAL}, and {instead}")


def real_server(given: Given, choice: Choice) -> Iterator[Problem]:
    """What is impossible about an arm with a real server, besides what is so for every server that the lab starts."""
    yield from _topology(given["topology"], choice)
    yield from _context(given["context"], choice)
    yield from _tls(given["tls"], choice)
    yield from _server(given["server"], choice)
    if "intruders" in given["load"]:
        yield Problem("load.intruders", f'only allowed with tls.server = "lab", and this is "{choice.server}"')


def _topology(topology: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    server, kind = choice.server, choice.topology
    if kind not in TOPOLOGIES[server]:
        yield Problem(
            "topology.kind",
            f'"{kind}" is not allowed with tls.server = "{server}"; use {_one_of(TOPOLOGIES[server])}',
        )
        return  # the others follow from it
    if kind == "threads" and choice.processes != 1:
        yield Problem(
            "topology.processes",
            f'{choice.processes} is not allowed with tls.server = "{server}", which is one process; use 1',
        )
    if server == "stunnel" and "threads" in topology:
        yield Problem(
            "topology.threads", 'not allowed with tls.server = "stunnel", which starts one for each connection'
        )
    elif server == "nginx" and choice.threads != 1:
        yield Problem(
            "topology.threads",
            f'{choice.threads} is not allowed with tls.server = "nginx", whose workers are one loop each; use 1',
        )
    elif kind == "prefork" and choice.threads != 1:
        yield Problem(
            "topology.threads",
            f'{choice.threads} is not allowed with kind = "prefork"; use 1, or kind = "worker" or "event"',
        )
    for key in ("fork_point", "busy_threads", "start"):
        if key in topology:
            yield Problem(
                f"topology.{key}",
                f'not allowed with tls.server = "{server}", which forks when and as it likes; use the server lab',
            )
    if "connections_per_child" in topology and server != "httpd":
        yield Problem(
            "topology.connections_per_child",
            f'not allowed with tls.server = "{server}", whose processes never end by it; use httpd or lab',
        )


def _context(context: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    for key, value in context.items():
        if (key, value) == ("policy", "broker"):
            yield Problem(
                "context.policy",
                f'"broker" is not allowed with tls.server = "{choice.server}": what its library does is found and '
                'reported; use token.kind = "p11kit-remote", where others have its token, or the server lab',
            )
        elif key != "locking":
            yield Problem(
                f"context.{key}",
                f'not allowed with tls.server = "{choice.server}": what its library does is found and reported; '
                "use locking only, or the server lab",
            )


def _tls(tls: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    server = choice.server
    if choice.bridge not in _BRIDGES:
        yield Problem(
            "tls.bridge", f'"{choice.bridge}" is not allowed with server = "{server}"; use {_one_of(_BRIDGES)}'
        )
    if choice.key_exchange == "rsa" and choice.bridge == "engine":
        yield Problem(
            "tls.key_exchange",
            f'"rsa" is not allowed with bridge = "engine": {RSA_ENGINE}; use ecdhe, or the bridge provider',
        )
    if tls.get("resumption", "off") != "off":
        yield Problem(
            "tls.resumption",
            f'"{tls["resumption"]}" is not allowed with server = "{server}"; use off, or the server lab',
        )
    if server == "stunnel" and choice.vhosts > 1:
        yield Problem(
            "tls.vhosts", f'{choice.vhosts} are not allowed with server = "stunnel"; use 1, or httpd, nginx or lab'
        )


def _server(server: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    if server.get("user") == "root":
        yield Problem("server.user", '"root" is not allowed: its workers are to be unprivileged; use such as www-data')
    if "env_lines" in server and choice.server != "nginx":
        yield Problem("server.env_lines", f'only allowed with tls.server = "nginx", and this is "{choice.server}"')
    if "kill_at_s" in server and choice.server == "stunnel":
        yield Problem(
            "server.kill_at_s",
            'not allowed with tls.server = "stunnel", whose one process is all of it; use httpd or nginx',
        )
    for key in ("reload_at_s", "kill_at_s"):
        if server.get(key, 0) >= choice.length_s:
            yield Problem(
                f"server.{key}",
                f"{server[key]:g} is after the load, which is {choice.length_s:g} s with its warm-up; use less",
            )


def _one_of(values: tuple[str, ...]) -> str:
    return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
