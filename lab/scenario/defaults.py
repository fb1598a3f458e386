"""What a key is that was not given: its default where it applies to the arm, None where it does not."""

from __future__ import annotations

from typing import Any, Final

from lab.scenario.choice import BEHIND_P11_KIT, DEFAULT_CLIENTS, DEFAULT_RATE_HZ, Choice, Given
from lab.scenario.models import Context, Load, RealServer, Tls, Token, Topology, Workload
from lab.scenario.resolved import Arm

DEFAULT_BUSY_THREADS: Final = 2
DEFAULT_POOL_SIZE: Final = 2
DEFAULT_GENERATORS: Final = 1
DEFAULT_USER: Final = "www-data"

SET_UP_S: Final = 10.0
LOG_IN_S: Final = 0.1
INTERPRETER_S: Final = 0.5
REAL_SERVER_S: Final = 10.0

SERVER_S_OWN: Final = ("bridge", "key_exchange", "vhost_by", "resumption")
"""Keys of [tls] that an external server decides."""


def resolve(name: str, given: Given, timeout_s: float | None) -> Arm:
    """The arm with every default in its place. `given` must have no problems."""
    choice = Choice.of(given)
    return Arm(
        name=name,
        token=_token(given, choice) if choice.has_context else None,
        topology=None if choice.external else _topology(given, choice),
        context=_context(given, choice) if choice.has_context else None,
        workload=_workload(given, choice),
        tls=_tls(given, choice) if choice.handshake else None,
        server=_server(given, choice) if choice.real else None,
        load=_load(given, choice),
        timeout_s=timeout_s or default_timeout_s(choice),
    )


def default_timeout_s(choice: Choice) -> float:
    """The load, 10 s for set-up and end, what staggered log-ins take, and the last handshake's time-out.

    A real server has 10 s more, to start and to stop, and each spawned process half a second, since it starts an
    interpreter: on two busy processors, 20 of them were not ready within 6 s.
    """
    interpreters_s = INTERPRETER_S * choice.processes if choice.topology == "spawn" else 0.0
    log_ins_s = 0.0 if choice.external else LOG_IN_S * choice.processes
    last_s = choice.handshake_timeout_s if choice.handshake else 0.0
    server_s = REAL_SERVER_S if choice.real else 0.0
    return round(choice.length_s + SET_UP_S + interpreters_s + log_ins_s + last_s + server_s, 3)


def _token(given: Given, choice: Choice) -> Token:
    own: dict[str, Any] = {} if choice.token == "module" else {"provision": True}
    if choice.over == "softhsm":
        own["reset_on_fork"] = False
    if choice.over == "tpm2":
        own["resource_manager"] = False
    if choice.token in BEHIND_P11_KIT:
        own["over"] = choice.over
    return Token(**{**own, **given["token"]})


def _topology(given: Given, choice: Choice) -> Topology:
    topology = {**given["topology"], "kind": choice.topology, "processes": choice.processes, "threads": choice.threads}
    if choice.fork_point == "threads-busy":
        topology.setdefault("busy_threads", DEFAULT_BUSY_THREADS)
    return Topology(**topology)


def _context(given: Given, choice: Choice) -> Context:
    context = dict(given["context"])
    if choice.real:
        context["policy"] = None
    if choice.policy == "shared":
        context.setdefault("inherit", "sessions")
    if choice.session == "pool":
        context.setdefault("pool_size", DEFAULT_POOL_SIZE)
    if choice.decided_by_library:
        context["session"] = None
        context.setdefault("locking", None)
    context.setdefault("locking", "none" if choice.driver == "python-pkcs11" else "os")
    return Context(**context)


def _workload(given: Given, choice: Choice) -> Workload:
    workload = dict(given["workload"])
    if choice.workload == "sign" or (choice.handshake and not choice.external):
        workload["key"] = choice.key
    if choice.workload == "sign":
        workload.setdefault("mechanism", "RSA_PKCS" if choice.key.startswith("rsa") else "ECDSA")
    if choice.workload != "null" and not choice.handshake:
        workload.setdefault("driver", "native")
    return Workload(**workload)


def _tls(given: Given, choice: Choice) -> Tls:
    if choice.external:
        return Tls(**{**given["tls"], **dict.fromkeys(SERVER_S_OWN)})
    return Tls(**{**given["tls"], "bridge": choice.bridge})


def _server(given: Given, choice: Choice) -> RealServer:
    server = {"user": DEFAULT_USER, **given["server"]}
    if choice.server == "nginx":
        server.setdefault("env_lines", True)
    return RealServer(**server)


def _load(given: Given, choice: Choice) -> Load:
    load: dict[str, Any] = dict(given["load"])
    if choice.mode == "open":
        load.setdefault("rate_hz", DEFAULT_RATE_HZ)
        load.setdefault("arrivals", "poisson")
    if choice.handshake:
        load.setdefault("generators", DEFAULT_GENERATORS)
        if choice.mode == "closed":
            load.setdefault("clients", DEFAULT_CLIENTS)
        if not choice.external and not choice.real:
            load.setdefault("intruders", {})
    return Load(**load)
