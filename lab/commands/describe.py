"""What a plan would do, for --dry-run."""

from __future__ import annotations

import json

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.plan import Plan
from lab.scenario import Arm, Scenario

TRIAL_OVERHEAD_S = 0.75
"""What a trial takes besides its load: start of the tree, set-up, sealing. For the estimate alone."""


def plan(scenario: Scenario, planned: Plan) -> RenderableType:
    """The question, the arms side by side, how many trials, how long at least, and the first block's order."""
    heading = Text(scenario.name, style="bold")
    question = [Text(scenario.question)] if scenario.question else []
    first = [trial.arm for trial in planned.trials if trial.block == 1]
    lines = [
        f"{planned.blocks} blocks of {len(scenario.arms)} = {len(planned.trials)} trials, seed {planned.seed}",
        f"takes at least {_duration(minimum_s(scenario))}, and {_duration(longest_s(scenario))} if every trial hangs",
        "first block: " + ", ".join(first),
        "compared by: " + ", ".join(f"{metric} ({margin:g})" for metric, margin in scenario.margin.items()),
        *(f"expects {path} = {json.dumps(value)}" for path, value in scenario.expect.items()),
    ]
    return Group(heading, *question, Text(), _arms(scenario), Text(), *(Text(line) for line in lines))


def minimum_s(scenario: Scenario) -> float:
    """Seconds that the trials' loads take, with a fixed allowance for starting each."""
    return scenario.blocks * sum(arm.load.warmup_s + arm.load.duration_s + TRIAL_OVERHEAD_S for arm in scenario.arms)


def longest_s(scenario: Scenario) -> float:
    """Seconds that the trials take when each is ended by its deadline."""
    return scenario.blocks * sum(arm.timeout_s for arm in scenario.arms)


def _arms(scenario: Scenario) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("arm", "topology", "policy", "session", "locking", "workload", "load"):
        table.add_column(column, overflow="fold")
    for arm in scenario.arms:
        table.add_row(*(Text(cell) for cell in _row(arm)))  # Text: a name may look like markup
    return table


def _row(arm: Arm) -> tuple[str, ...]:
    context = arm.context
    policy: str = "-" if context is None else context.policy
    if context is not None and context.inherit == "context":
        policy += " (own sessions)"
    session: str = "-" if context is None else context.session
    if context is not None and context.pool_size is not None:
        session += f" of {context.pool_size}"
    return (
        arm.name,
        _topology(arm),
        policy,
        session,
        "-" if context is None else context.locking,
        _work(arm),
        _load(arm),
    )


def _topology(arm: Arm) -> str:
    topology = arm.topology
    text = f"{topology.kind} {topology.processes}"
    if topology.threads > 1:
        text += f" x {topology.threads} threads"
    if topology.fork_point != "idle":
        text += f", fork {topology.fork_point}"
    return text + (", herd" if topology.start == "herd" else "")


def _work(arm: Arm) -> str:
    workload = arm.workload
    words: list[str | None] = [workload.kind, workload.key, workload.mechanism]
    if workload.driver == "python-pkcs11":
        words.append("by python-pkcs11")
    return " ".join(word for word in words if word)


def _load(arm: Arm) -> str:
    load = arm.load
    length = f"{load.warmup_s:g} + {load.duration_s:g} s"
    return f"closed, {length}" if load.mode == "closed" else f"{load.rate_hz:g} Hz {load.arrivals}, {length}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
