"""Which keys go together. What a handshake adds is in handshake_rules.py, and a real server in real_server_rules.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lab.scenario.choice import BEHIND_P11_KIT, Choice, Given
from lab.scenario.handshake_rules import handshake, no_handshake
from lab.scenario.models import MAX_OPERATIONS, MAX_WORKER_THREADS
from lab.scenario.problems import Problem
from lab.scenario.real_server_rules import no_real_server

MODULE_ONLY: Final = (
    "path",
    "token_label",
    "pin_env",
    "pin_file",
    "key_label",
    "init_string",
    "environment",
    "provision",
    "read_write",
)

_KEYS_OF_A_TPM: Final = 2  # loaded at once: a TPM has room for three objects, and needs one while it loads another


def problems(given: Given, timeout_s: float | None) -> Iterator[Problem]:
    """What is impossible about an arm; nothing where it can run."""
    choice = Choice.of(given)
    yield from handshake(given, choice) if choice.handshake else no_handshake(given)
    if not choice.real:
        yield from no_real_server(given["server"], choice)
        if not choice.external:
            yield from _topology(given, choice)
    if not choice.external:
        yield from _threads(choice)
    yield from _workload(given, choice)
    if choice.has_context:
        if not choice.real:
            yield from _context(given, choice)
        yield from _token(given["token"], choice)
    yield from _load(given["load"], choice, timeout_s)


def _threads(choice: Choice) -> Iterator[Problem]:
    if choice.processes * choice.threads > MAX_WORKER_THREADS:
        count = choice.processes * choice.threads
        yield Problem(
            "topology.threads", f"{count} threads in all processes are not allowed; use at most {MAX_WORKER_THREADS}"
        )


def _topology(given: Given, choice: Choice) -> Iterator[Problem]:
    kind, policy = choice.topology, choice.policy
    topology = given["topology"]
    if kind == "threads" and choice.processes != 1:
        yield Problem("topology.processes", f'{choice.processes} is not allowed with kind = "threads"; use 1')
    if kind in ("prefork", "event") and choice.threads != 1:
        yield Problem(
            "topology.threads", f'{choice.threads} is not allowed with kind = "{kind}"; use 1, or kind = "worker"'
        )
    if kind in ("threads", "spawn") and policy not in ("per-process", "broker"):
        why = "nothing forks" if kind == "threads" else "exec inherits nothing"
        yield Problem(
            "context.policy",
            f'"{policy}" is not allowed with topology.kind = "{kind}" ({why}); use per-process or broker',
        )
    if choice.fork_point != "idle":
        if choice.workload != "sign":
            yield Problem(
                "topology.fork_point", f'"{choice.fork_point}" needs workload.kind = "sign": the parent signs; use idle'
            )
        elif policy in ("per-process", "broker"):
            yield Problem(
                "topology.fork_point",
                f'"{choice.fork_point}" needs a parent with a context: context.policy shared or reinit; use idle',
            )
    if choice.fork_point == "mid-operation":
        if choice.driver == "python-pkcs11":
            yield Problem(
                "topology.fork_point",
                '"mid-operation" is not allowed with workload.driver = "python-pkcs11", whose sign() is whole; '
                "use native, or another fork point",
            )
        if choice.session == "per-operation":
            yield Problem(
                "topology.fork_point",
                '"mid-operation" is not allowed with context.session = "per-operation", where no session outlives '
                "an operation; use per-thread, per-process or pool",
            )
    if "busy_threads" in topology and choice.fork_point != "threads-busy":
        yield Problem("topology.busy_threads", 'only allowed with fork_point = "threads-busy"')


def _workload(given: Given, choice: Choice) -> Iterator[Problem]:
    workload = given["workload"]
    if choice.workload == "null":
        if given["context"]:
            yield Problem(
                f"context.{next(iter(given['context']))}", 'not allowed with workload.kind = "null": it has no context'
            )
        if "driver" in workload:
            yield Problem("workload.driver", 'not allowed with workload.kind = "null": it calls nothing')
    if choice.workload != "sign":
        if "mechanism" in workload:
            why = ": TLS chooses it for a handshake" if choice.handshake else ""
            yield Problem("workload.mechanism", f'only allowed with workload.kind = "sign"{why}')
        if "key" in workload and not choice.handshake:
            yield Problem("workload.key", 'only allowed with workload.kind = "sign" or "handshake"')
        return
    key = workload.get("key", "ec-p256")
    mechanism = workload.get("mechanism")
    if mechanism is not None and ("RSA" in mechanism) != key.startswith("rsa"):
        use = "one with RSA in its name" if key.startswith("rsa") else "ECDSA or ECDSA_SHA..."
        yield Problem("workload.mechanism", f'"{mechanism}" is not allowed with the key "{key}"; use {use}')


def _context(given: Given, choice: Choice) -> Iterator[Problem]:
    context = given["context"]
    if choice.policy == "broker" and choice.token == "p11kit-remote":
        yield Problem(
            "context.policy",
            '"broker" is not allowed with token.kind = "p11kit-remote", whose token has owners already; '
            f"use token.kind = {choice.over}",
        )
    if "inherit" in context and choice.policy != "shared":
        yield Problem("context.inherit", f'only allowed with policy = "shared", and this is "{choice.policy}"')
    if "pool_size" in context and choice.session != "pool":
        yield Problem("context.pool_size", f'only allowed with session = "pool", and this is "{choice.session}"')
    if choice.driver == "python-pkcs11" and context.get("locking", "none") != "none":
        yield Problem(
            "context.locking",
            '"os" is not allowed with workload.driver = "python-pkcs11", which calls C_Initialize(NULL); use none',
        )


def _token(token: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    if "over" in token and choice.token not in BEHIND_P11_KIT:
        yield Problem("token.over", 'only allowed with kind = "p11kit-proxy" or "p11kit-remote"')
    if "reset_on_fork" in token and choice.over != "softhsm":
        yield Problem("token.reset_on_fork", f"only allowed with softhsm, and what is over it; this is {choice.over}")
    yield from _resource_manager(token, choice)
    if choice.token != "module":
        for key in MODULE_ONLY:
            if key in token:
                yield Problem(f"token.{key}", f'only allowed with kind = "module"; {choice.token} is set up by the lab')
        return
    needed = ["path", "token_label"]
    if choice.uses_key and not token.get("provision", False):
        needed.append("key_label")
    for key in needed:
        if key not in token:
            yield Problem(f"token.{key}", 'missing; kind = "module" needs it')
    if ("pin_env" in token) == ("pin_file" in token):
        what = "missing" if "pin_env" not in token else "given together with pin_file"
        yield Problem("token.pin_env", f'{what}; kind = "module" needs exactly one of pin_env, pin_file')


def _resource_manager(token: Mapping[str, Any], choice: Choice) -> Iterator[Problem]:
    """A TPM alone has room for two keys; more contexts than that fail for this, whatever else is to be found."""
    if choice.over != "tpm2":
        if "resource_manager" in token:
            yield Problem(
                "token.resource_manager", f"only allowed with tpm2, and what is over it; this is {choice.over}"
            )
        return
    one = choice.topology == "threads" or choice.policy in ("shared", "broker")
    contexts = 1 if one else choice.processes
    if "resource_manager" not in token and contexts * choice.vhosts > _KEYS_OF_A_TPM:
        yield Problem(
            "token.resource_manager",
            f"missing; {contexts} contexts with {choice.vhosts} keys each are more than the {_KEYS_OF_A_TPM} keys that "
            "a TPM has room for: set it to true, have fewer, or set it to false to see what becomes of them",
        )


def _load(load: Mapping[str, Any], choice: Choice, timeout_s: float | None) -> Iterator[Problem]:
    length_s = choice.length_s
    if choice.mode == "closed":
        for key in ("rate_hz", "arrivals"):
            if key in load:
                yield Problem(f"load.{key}", 'only allowed with mode = "open"')
    elif choice.rate_hz * length_s > MAX_OPERATIONS:
        yield Problem(
            "load.rate_hz",
            f"{choice.rate_hz:g} for {length_s:g} s is {choice.rate_hz * length_s:.0f} operations of one trial; "
            f"use at most {MAX_OPERATIONS}",
        )
    if timeout_s is not None and timeout_s <= length_s:
        yield Problem("timeout_s", f"{timeout_s:g} would cut the load of {length_s:g} s off; use a longer one")
