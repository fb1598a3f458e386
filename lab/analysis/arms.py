"""What analysis needs to know of an arm: plain data, taken from the resolved scenario of a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TRACE = "trace"
"""The workload of a traced program, of which the lab planned nothing."""


@dataclass(frozen=True)
class ArmInfo:
    """One arm of a resolved scenario, under the names of summary.json."""

    name: str
    token: str | None
    topology: str | None  # None where the lab did not start the server
    processes: int
    threads: int
    context: str | None  # None where there is no context: the null workload
    session: str | None
    locking: str | None
    workload: str
    mechanism: str | None
    key: str | None
    open_loop: bool
    rate_hz: float | None
    bridge: str | None = None
    server: str | None = None
    fork_point: str | None = None
    start: str | None = None
    inherit: str | None = None
    driver: str | None = None
    clients: int | None = None
    version: str | None = None
    vhosts: int | None = None
    vhost_by: str | None = None
    resumption: str | None = None
    key_exchange: str | None = None
    connections_per_child: int | None = None
    reset_on_fork: bool | None = None
    over: str | None = None
    bridge_library: str | None = None
    foreground: bool | None = None
    env_lines: bool | None = None
    reload_at_s: float | None = None
    kill_at_s: float | None = None

    @property
    def shape(self) -> tuple[str | None, int, int]:
        """Arms of one shape have the same processes and threads, so one can be the other's floor."""
        return (self.topology, self.processes, self.threads)

    @staticmethod
    def from_json(arm: Mapping[str, Any]) -> ArmInfo:
        """From one resolved arm; tables that it does not have (null workload: no context; a server that the lab did not
        start: no topology) may be absent or null.

        Raises KeyError or TypeError where the data are not a resolved arm's.
        """
        workload = arm["workload"]
        topology = arm.get("topology") if workload["kind"] in ("handshake", TRACE) else arm["topology"]
        topology = topology or {"kind": None, "processes": 0, "threads": 0}
        load = arm["load"]
        context = arm.get("context") or {}
        token, run = arm.get("token") or {}, arm.get("server") or {}
        tls = (arm.get("tls") or {}) if workload["kind"] == "handshake" else {}
        return ArmInfo(
            name=arm["name"],
            token=token.get("kind"),
            topology=topology["kind"],
            processes=topology["processes"],
            threads=topology.get("threads") or (1 if topology["kind"] else 0),
            context=context.get("policy"),
            session=context.get("session"),
            locking=context.get("locking"),
            workload=workload["kind"],
            mechanism=workload.get("mechanism"),
            key=workload.get("key"),
            open_loop=load["mode"] == "open",
            rate_hz=load.get("rate_hz"),
            bridge=tls.get("bridge"),
            server=tls.get("server"),
            fork_point=topology.get("fork_point"),
            start=topology.get("start"),
            inherit=context.get("inherit"),
            driver=workload.get("driver"),
            clients=load.get("clients"),
            version=tls.get("version"),
            vhosts=tls.get("vhosts"),
            vhost_by=tls.get("vhost_by"),
            resumption=tls.get("resumption"),
            key_exchange=tls.get("key_exchange"),
            connections_per_child=topology.get("connections_per_child"),
            reset_on_fork=token.get("reset_on_fork"),
            over=token.get("over"),
            bridge_library=tls.get("bridge_library"),
            foreground=run.get("foreground"),
            env_lines=run.get("env_lines"),
            reload_at_s=run.get("reload_at_s"),
            kill_at_s=run.get("kill_at_s"),
        )


def compared(arms: Sequence[ArmInfo]) -> list[str]:
    """Names of the arms that comparisons are of: null arms only where there are no others."""
    return [arm.name for arm in arms if arm.workload != "null"] or [arm.name for arm in arms]


def arms_of(scenario: Mapping[str, Any]) -> tuple[ArmInfo, ...]:
    """The arms of a resolved scenario (scenario.json), in its order.

    `arms` may be a list of tables with names, or a table by name.
    """
    arms: Any = scenario["arms"]
    listed: Iterable[Mapping[str, Any]] = (
        ({"name": name, **arm} for name, arm in arms.items()) if isinstance(arms, Mapping) else arms
    )
    return tuple(ArmInfo.from_json(arm) for arm in listed)
