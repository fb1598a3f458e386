"""Which keys go together, and what a key is that was not given.

`given` is what an arm says after base tables, [[arm]] and [matrix] are merged: table -> key -> value, each value of the
right type already. Keys that do not apply to the arm are refused when given, and None when resolved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab.scenario.models import MAX_OPERATIONS, MAX_WORKER_THREADS, Arm, Context, Load, Token, Topology, Workload
from lab.scenario.problems import Problem

Given = Mapping[str, Mapping[str, Any]]

MODULE_ONLY: Final = (
    "path",
    "token_label",
    "pin_env",
    "pin_file",
    "key_label",
    "init_string",
    "environment",
    "provision",
)
DEFAULT_BUSY_THREADS = 2
DEFAULT_POOL_SIZE = 2
DEFAULT_RATE_HZ = 100.0


@dataclass(frozen=True)
class Choice:
    """The values that decide which other keys apply."""

    token: str
    topology: str
    processes: int
    threads: int
    fork_point: str
    policy: str
    session: str
    workload: str
    driver: str
    mode: str
    rate_hz: float
    warmup_s: float
    duration_s: float

    @staticmethod
    def of(given: Given) -> Choice:
        topology, load = given["topology"], given["load"]
        kind = topology.get("kind", "prefork")
        return Choice(
            token=given["token"].get("kind", "softhsm"),
            topology=kind,
            processes=topology.get("processes", 1 if kind == "threads" else 4),
            threads=topology.get("threads", 4 if kind in ("worker", "threads") else 1),
            fork_point=topology.get("fork_point", "idle"),
            policy=given["context"].get("policy", "per-process"),
            session=given["context"].get("session", "per-thread"),
            workload=given["workload"].get("kind", "sign"),
            driver=given["workload"].get("driver", "native"),
            mode=load.get("mode", "open"),
            rate_hz=load.get("rate_hz", DEFAULT_RATE_HZ),
            warmup_s=load.get("warmup_s", 1.0),
            duration_s=load.get("duration_s", 5.0),
        )


def problems(given: Given, timeout_s: float | None) -> Iterator[Problem]:
    """What is impossible about an arm; nothing where it can run."""
    choice = Choice.of(given)
    yield from _topology(given, choice)
    yield from _workload(given, choice)
    if choice.workload != "null":
        yield from _context(given, choice)
        yield from _token(given["token"], choice)
    yield from _load(given["load"], choice, timeout_s)


def resolve(name: str, given: Given, timeout_s: float | None) -> Arm:
    """The arm with every default in its place. `given` must have no problems."""
    choice = Choice.of(given)
    null, sign = choice.workload == "null", choice.workload == "sign"
    python = choice.driver == "python-pkcs11"
    key = given["workload"].get("key", "ec-p256")
    topology = {**given["topology"], "processes": choice.processes, "threads": choice.threads}
    context, workload, load = dict(given["context"]), dict(given["workload"]), dict(given["load"])
    if choice.fork_point == "threads-busy":
        topology.setdefault("busy_threads", DEFAULT_BUSY_THREADS)
    if choice.policy == "shared":
        context.setdefault("inherit", "sessions")
    if choice.session == "pool":
        context.setdefault("pool_size", DEFAULT_POOL_SIZE)
    context.setdefault("locking", "none" if python else "os")
    if not null:
        workload.setdefault("driver", "native")
    if sign:
        workload |= {"key": key}
        workload.setdefault("mechanism", "RSA_PKCS" if key.startswith("rsa") else "ECDSA")
    if choice.mode == "open":
        load.setdefault("rate_hz", DEFAULT_RATE_HZ)
        load.setdefault("arrivals", "poisson")
    softhsm = {"reset_on_fork": False, "provision": True} if choice.token == "softhsm" else {}
    return Arm(
        name=name,
        token=None if null else Token(**{**softhsm, **given["token"]}),
        topology=Topology(**topology),
        context=None if null else Context(**context),
        workload=Workload(**workload),
        load=Load(**load),
        timeout_s=timeout_s or default_timeout_s(choice),
    )


def default_timeout_s(choice: Choice) -> float:
    """The load, 10 s for set-up and end, and what 200 staggered log-ins take."""
    return round(choice.warmup_s + choice.duration_s + 10 + 0.1 * choice.processes, 3)


def _topology(given: Given, choice: Choice) -> Iterator[Problem]:
    kind, policy = choice.topology, choice.policy
    topology = given["topology"]
    if kind == "threads" and choice.processes != 1:
        yield Problem("topology.processes", f'{choice.processes} is not allowed with kind = "threads"; use 1')
    if kind == "prefork" and choice.threads != 1:
        yield Problem(
            "topology.threads", f'{choice.threads} is not allowed with kind = "prefork"; use 1, or kind = "worker"'
        )
    if choice.processes * choice.threads > MAX_WORKER_THREADS:
        count = choice.processes * choice.threads
        yield Problem(
            "topology.threads", f"{count} threads in all processes are not allowed; use at most {MAX_WORKER_THREADS}"
        )
    if kind in ("threads", "spawn") and policy != "per-process":
        why = "nothing forks" if kind == "threads" else "exec inherits nothing"
        yield Problem(
            "context.policy", f'"{policy}" is not allowed with topology.kind = "{kind}" ({why}); use per-process'
        )
    if choice.fork_point != "idle":
        if choice.workload != "sign":
            yield Problem(
                "topology.fork_point", f'"{choice.fork_point}" needs workload.kind = "sign": the parent signs; use idle'
            )
        elif policy == "per-process":
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
        for key in ("key", "mechanism"):
            if key in workload:
                yield Problem(f"workload.{key}", 'only allowed with workload.kind = "sign"')
        return
    key = workload.get("key", "ec-p256")
    mechanism = workload.get("mechanism")
    if mechanism is not None and ("RSA" in mechanism) != key.startswith("rsa"):
        use = "one with RSA in its name" if key.startswith("rsa") else "ECDSA or ECDSA_SHA..."
        yield Problem("workload.mechanism", f'"{mechanism}" is not allowed with the key "{key}"; use {use}')


def _context(given: Given, choice: Choice) -> Iterator[Problem]:
    context = given["context"]
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
    if choice.token == "softhsm":
        for key in MODULE_ONLY:
            if key in token:
                yield Problem(f"token.{key}", 'only allowed with kind = "module"; softhsm is set up by the lab')
        return
    if "reset_on_fork" in token:
        yield Problem("token.reset_on_fork", 'only allowed with kind = "softhsm"')
    needed = ["path", "token_label"]
    if choice.workload == "sign" and not token.get("provision", False):
        needed.append("key_label")
    for key in needed:
        if key not in token:
            yield Problem(f"token.{key}", 'missing; kind = "module" needs it')
    if ("pin_env" in token) == ("pin_file" in token):
        what = "missing" if "pin_env" not in token else "given together with pin_file"
        yield Problem("token.pin_env", f'{what}; kind = "module" needs exactly one of pin_env, pin_file')


def _load(load: Mapping[str, Any], choice: Choice, timeout_s: float | None) -> Iterator[Problem]:
    length_s = choice.warmup_s + choice.duration_s
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
