"""What the terminal shows where a program owns the token, and that it shows nothing of it where none does."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lab.analysis.arms import arms_of
from lab.analysis.summary import summarise
from lab.report.brokers import TITLE
from lab.report.terminal import show
from tests.analysis.test_at_token import brokered, owned, owner
from tests.sealed_run import SCENARIO
from tests.trial_builder import TrialBuilder, record, worker


def summary(*names: str) -> dict[str, Any]:
    resolved = arms_of({"arms": [SCENARIO["arms"][0] | {"name": name} for name in names]})
    facts = []
    for number, name in enumerate(names):
        if name == "broker":
            trial = owned(worker(1, 1), worker(2), owner())
            facts.append(
                brokered().operation().examine(record(*trial.processes, arm=name, number=number, owners=trial.owners))
            )
        else:
            builder = TrialBuilder().begin(1).sign(1).end(1).operation()
            facts.append(builder.examine(record(worker(1, 1), arm=name, number=number)))
    return summarise("run", "scenario", "", 7, resolved, {"throughput_hz": 0.05}, facts)


def shown(found: dict[str, Any], width: int = 100) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_the_owner_s_share_stands_beside_the_workers_in_every_arm(width: int) -> None:
    text = shown(summary("per-process", "broker"), width)
    assert max(map(len, text.splitlines())) <= width
    lines = {
        " ".join(cells[:-2]): tuple(cells[-2:])
        for line in text.partition(TITLE)[2].partition("Failures")[0].splitlines()
        if len(cells := line.replace("each worker", "each-worker").split()) > 2
    }
    assert lines["owner of the token"] == ("each-worker", "broker")
    assert lines["C_Initialize that it saw"] == ("1", "1")
    assert lines["most sessions at once"] == ("1", "2")
    assert lines["memory of the workers, MiB"] == ("2", "4")
    assert lines["memory of the owner, MiB"] == ("n/a", "3")
    assert lines["memory in all, MiB"] == ("2", "7")
    assert lines["signing at the owner, p50 ms"] == ("n/a", "0.5")


def test_nothing_is_said_of_owners_where_there_are_none() -> None:
    assert TITLE not in shown(summary("per-process", "again"))


def test_a_summary_of_before_is_shown_too() -> None:
    found = summary("per-process")
    del found["arms"]["per-process"]["at_token"]
    assert TITLE not in shown(found)
