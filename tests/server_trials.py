"""Trials of real servers: a master 1 (pid 1001), workers from 2 on, whose calls say whose context they used."""

from __future__ import annotations

from typing import Any

from lab.analysis.arms import arms_of
from lab.analysis.facts import TrialFacts
from lab.analysis.summary import summarise
from lab.record.model import ProcessRecord, ServerRecord, TrialRecord
from tests.handshake_trials import ARM
from tests.trial_builder import NS_PER_MS, TrialBuilder, generator, record, worker

MASTER = 1
CLIENT = 9
HTTPD: dict[str, Any] = ARM | {
    "token": {"kind": "softhsm"},
    "topology": {"kind": "prefork", "processes": 2, "threads": None, "connections_per_child": None},
    "context": {"policy": None, "session": None, "locking": None},
    "tls": ARM["tls"] | {"server": "httpd", "bridge": "engine", "vhosts": 1},
}


def ns(at_ms: float | None) -> int | None:
    return None if at_ms is None else int(at_ms * NS_PER_MS)


def child(index: int, born: float = -50, gone: float | None = None, parent: int = MASTER, **fields: Any) -> Any:
    """A worker; nobody but its master sees how it ends."""
    given = {"parent": 1000 + parent, "born_ns": ns(born), "gone_ns": ns(gone), "end": "unknown", "program": "apache2"}
    return worker(index, **(given | fields))


def master(index: int = MASTER, **fields: Any) -> ProcessRecord:
    return child(index, **({"born": -100, "parent": 77, "role": "master"} | fields))


def beside(index: int, **fields: Any) -> ProcessRecord:
    return worker(index, **({"role": "other", "end": "unknown", "program": "p11-kit"} | fields))


def server_trial(*processes: ProcessRecord, planned: int = 0, server: Any = None, **fields: Any) -> TrialRecord:
    """Of these processes and a generator; server: fields of its ServerRecord, times in ms."""
    given: dict[str, Any] = {"ready_ns": 0.0} | (server or {})
    times = {name: ns(value) if name.endswith("_ns") else value for name, value in given.items()}
    told = ServerRecord(**({"name": "httpd", "version": "Apache/2.4.62 (Debian)", "realtime_ns": 0} | times))
    return record(*processes, generator(CLIENT, planned), server=told, **fields)


def summary_of(*facts: TrialFacts, arm: dict[str, Any] | None = None) -> dict[str, Any]:
    """The one arm of a summary."""
    found: dict[str, Any] = whole_summary(*facts, arm=arm)["arms"]["a"]
    return found


def whole_summary(*facts: TrialFacts, arm: dict[str, Any] | None = None) -> dict[str, Any]:
    arms = arms_of({"arms": [(arm or HTTPD) | {"name": "a"}]})
    return summarise("run", "scenario", "What does a reload do?", 7, arms, {}, facts)


def forked(builder: TrialBuilder, *workers: int, at: float = 20) -> TrialBuilder:
    """The master makes a context; each worker makes one of its own and signs, 10 ms apart, from `at` on."""
    opened(builder)
    for place, index in enumerate(workers):
        fresh(builder, index, at + 10 * place)
    return builder


def opened(builder: TrialBuilder, index: int = MASTER, at: float = -90, session: int = 5) -> TrialBuilder:
    """A context of its own with a login, and the key found."""
    for place, function in enumerate(("C_Initialize", "C_OpenSession", "C_Login", "C_FindObjects")):
        builder.call(function, index, at=at + place, session=session if place else 0, key=7, argument=1)
    return builder


def fresh(builder: TrialBuilder, index: int, at: float, session: int = 5) -> TrialBuilder:
    """The same, and a signature."""
    opened(builder, index, at, session)
    builder.call("C_SignInit", index, at=at + 4, session=session, key=7)
    return builder.call("C_Sign", index, at=at + 5, session=session)


def reloaded(arm: str = "a", number: int = 1, kill: bool = False, workers: int = 4) -> tuple[TrialRecord, TrialFacts]:
    """A server under 300 handshakes in 3 s whose workers are all replaced at 1.5 s (or of which one is killed): some
    handshakes fail then, and the old ones leave one after the other."""
    builder = opened(TrialBuilder())
    change = 1500.0
    old = list(range(10, 10 + workers))
    new = list(range(50, 51 if kill else 50 + workers))
    processes = [
        child(i, gone=None if kill and i != old[0] else change + 1 + 60 * place) for place, i in enumerate(old)
    ]
    processes += [child(i, born=change + 40 + 5 * place) for place, i in enumerate(new)]
    if kill:
        processes[0] = child(old[0], gone=change, end="signal", status=9)
    for place, index in enumerate(old):
        fresh(builder, index, -40 + 7 * place)
    for place, index in enumerate(new):
        fresh(builder, index, change + 42 + 5 * place)
    for sequence in range(300):
        at = 10.0 * sequence
        serving = old if at < change + 60 else [*old[1:], *new] if kill else new
        if change <= at < change + 50:
            builder.operation(
                CLIENT, sequence, at=at, lasts=2, kind="handshake", outcome="fail", layer="network", code=104
            )
            builder._handshakes[CLIENT] += 1
        else:
            builder.handshake(1000 + sequence, at=at, server=serving[sequence % len(serving)], client=CLIENT)
    told: dict[str, Any] = {"kill_ns": change, "killed": old[0]} if kill else {"reload_ns": change}
    trial = server_trial(
        master(), *processes, planned=300, server=told, duration_ns=3_000 * NS_PER_MS, arm=arm, number=number
    )
    return trial, builder.examine(trial)
