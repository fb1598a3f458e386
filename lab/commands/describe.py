"""What a plan would do, for --dry-run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.analysis.deciding import least_blocks
from lab.analysis.piloted import FEWEST, MOST
from lab.plan import PILOT_BLOCKS, make
from lab.report.words import counted
from lab.scenario import Arm, Scenario

TRIAL_OVERHEAD_S = 0.75
"""What a trial takes besides its load: start of the tree, set-up, sealing. For the estimate alone."""


def plan(scenario: Scenario) -> RenderableType:
    """The question, the arms side by side, how many trials, how long at least, and the first block's order."""
    heading = Text(scenario.name, style="bold")
    question = [Text(scenario.question)] if scenario.question else []
    first = [trial.arm for trial in make(scenario, 1).trials]  # more blocks continue a plan, and do not change it
    lines = [
        f"{_trials(scenario)}, seed {scenario.seed}",
        f"takes at least {_duration(minimum_s(scenario))}, and {_duration(longest_s(scenario))} if every trial hangs",
        "first block: " + ", ".join(first),
        "compared by: " + ", ".join(f"{metric} ({margin:g})" for metric, margin in scenario.margin.items()),
        *_too_few(scenario),
        *(f"expects {path} = {json.dumps(value)}" for path, value in scenario.expect.items()),
    ]
    arms = _Arms(_with_servers_if_any([_cells(arm) for arm in scenario.arms]))
    return Group(heading, *question, Text(), arms, Text(), *(Text(line) for line in lines))


def _trials(scenario: Scenario) -> str:
    arms = len(scenario.arms)
    if scenario.blocks != "auto":
        return f"{counted(scenario.blocks, 'block')} of {arms} = {counted(scenario.blocks * arms, 'trial')}"
    return (
        f"a pilot of {PILOT_BLOCKS} blocks of {arms} chooses the number of blocks, from {FEWEST} to {MOST}, before the"
        f" {FEWEST * arms} to {MOST * arms} measured trials"
    )


def _too_few(scenario: Scenario) -> Iterator[str]:
    """What --dry-run says of a run that cannot find any difference."""
    needed = least_blocks(len(scenario.margin))
    if scenario.blocks != "auto" and len(scenario.arms) > 1 and scenario.blocks < needed:
        metrics = counted(len(scenario.margin), "metric")
        yield f"too few blocks for a verdict of faster or slower: {metrics} take {needed}, whatever the difference"


def minimum_s(scenario: Scenario) -> float:
    """Seconds that the trials' loads take, with a fixed allowance for starting each."""
    blocks = PILOT_BLOCKS + FEWEST if scenario.blocks == "auto" else scenario.blocks
    return blocks * sum(arm.load.warmup_s + arm.load.duration_s + TRIAL_OVERHEAD_S for arm in scenario.arms)


def longest_s(scenario: Scenario) -> float:
    """Seconds that the trials take when each is ended by its deadline."""
    blocks = PILOT_BLOCKS + MOST if scenario.blocks == "auto" else scenario.blocks
    return blocks * sum(arm.timeout_s for arm in scenario.arms)


@dataclass(frozen=True)
class _Arms:
    """What all arms share in a sentence; what differs as a table where it fits, otherwise as a paragraph for each arm.

    Names and values are never broken in the middle of a word, unless one alone is wider than the terminal.
    """

    arms: Sequence[Mapping[str, str]]  # by column; "-": does not apply

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        first = self.arms[0]
        differ = [name for name in first if name == "arm" or len({arm[name] for arm in self.arms}) > 1]
        if len(self.arms) == 1:
            differ = list(first)
        shared = [f"{name} {value}" for name, value in first.items() if name not in differ and value != "-"]
        if shared:
            yield Text(f"in every arm: {'; '.join(shared)}")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in differ:
            table.add_column(name, no_wrap=True)
        for arm in self.arms:
            table.add_row(*(Text(arm[name]) for name in differ))  # Text: a name may look like markup
        wide = options.update(width=10_000, max_width=10_000)
        if Measurement.get(console, wide, table).maximum <= options.max_width:
            yield table
            return
        yield Text("arms:")
        for arm in self.arms:
            told = "; ".join(f"{name} {arm[name]}" for name in differ if name != "arm")
            yield Padding(Text(f"{arm['arm']}: {told}"), (0, 0, 0, 2))


def _with_servers_if_any(cells: Sequence[dict[str, str]]) -> Sequence[Mapping[str, str]]:
    """The column of real servers is for scenarios that have one."""
    if all(arm["server"] == "-" for arm in cells):
        for arm in cells:
            del arm["server"]
    return cells


def _cells(arm: Arm) -> dict[str, str]:
    context = arm.context
    policy: str = "-" if context is None else context.policy or "by its library"
    if context is not None and context.inherit == "context":
        policy += " (own sessions)"
    session: str = "-" if context is None else context.session or "-"
    if context is not None and context.pool_size is not None:
        session += f" of {context.pool_size}"
    return {
        "arm": arm.name,
        "topology": _topology(arm),
        "policy": policy,
        "session": session,
        "locking": "-" if context is None else context.locking or "-",
        "workload": _work(arm),
        "tls": _tls(arm),
        "server": _server(arm),
        "load": _load(arm),
    }


def _topology(arm: Arm) -> str:
    topology = arm.topology
    if topology is None:
        return "-"
    text = f"{topology.kind} {topology.processes}"
    if topology.threads > 1:
        text += f" x {topology.threads} threads"
    if topology.fork_point != "idle":
        text += f", fork {topology.fork_point}"
    if topology.connections_per_child is not None:
        text += f", {counted(topology.connections_per_child, 'connection')} per child"
    return text + (", herd" if topology.start == "herd" else "")


def _work(arm: Arm) -> str:
    workload = arm.workload
    words: list[str | None] = [workload.kind, workload.key, workload.mechanism]
    if workload.driver == "python-pkcs11":
        words.append("by python-pkcs11")
    return " ".join(word for word in words if word)


def _tls(arm: Arm) -> str:
    tls = arm.tls
    if tls is None:
        return "-"
    if tls.server == "external":
        return f"{tls.version} at {tls.host} port {tls.port}"
    text = f"{tls.version} {tls.key_exchange} {tls.bridge}"
    if tls.bridge_library is not None:
        text += f" of {tls.bridge_library}"
    if tls.vhosts > 1:
        text += f", {tls.vhosts} hosts by {tls.vhost_by}"
    return text + (f", tickets {tls.resumption}" if tls.resumption != "off" else "")


def _server(arm: Arm) -> str:
    server = arm.server
    if server is None or arm.tls is None:
        return "-"
    text = f"{arm.tls.server} as {server.user}"
    if not server.foreground:
        text += ", daemon"
    if server.env_lines is False:
        text += ", no env lines"
    if server.reload_at_s is not None:
        text += f", reload at {server.reload_at_s:g} s"
    if server.kill_at_s is not None:
        text += f", kill at {server.kill_at_s:g} s"
    return text


def _load(arm: Arm) -> str:
    load = arm.load
    text = "closed" if load.mode == "closed" else f"{load.rate_hz:g} Hz {load.arrivals}"
    if load.clients is not None:
        text += f", {counted(load.clients, 'client')}"
    if load.generators is not None and load.generators > 1:
        text += f" of {load.generators} generators"
    if load.intruders is not None:
        kinds = {name: count for name, count in load.intruders.model_dump().items() if count}
        text += "".join(f", {count} {name}" for name, count in kinds.items())
    return f"{text}, {load.warmup_s:g} + {load.duration_s:g} s"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
