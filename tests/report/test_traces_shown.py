"""A traced program on the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lab.analysis.arms import arms_of
from lab.analysis.summary import summarise
from lab.report.terminal import show
from lab.report.traced import PROCESSES_SHOWN, ranges
from tests.analysis.test_traced import ARM, TrialBuilder, _examined, _process


def _shown(builder: TrialBuilder, *processes: Any) -> str:
    facts = _examined(builder, *processes)
    summary = summarise("run", "trace of server", "", 0, arms_of({"arms": [ARM]}), {}, [facts])
    console = Console(file=io.StringIO(), width=80)
    show(summary, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    return " ".join(text.split())


def test_processes_calls_and_rules_are_shown_and_nothing_of_operations() -> None:
    text = _shown(TrialBuilder().begin(0).end(0).call("C_Sign", 1, session=5), _process(0), _process(1))
    assert "process 0: C_Initialize(OS locking)" in text
    assert "process 1: inherited: 1 call and no C_Initialize" in text
    assert "C_FindObjects 1 0 0.5" in text
    assert "initialize-per-process: called PKCS#11 without a C_Initialize of its own" in text
    assert "planned" not in text
    assert "throughput" not in text


def test_many_processes_are_cut_off_and_said_to_be_alike_in_one_line() -> None:
    many = PROCESSES_SHOWN + 5
    builder = TrialBuilder()
    for index in range(many):
        builder.begin(index).end(index)
    text = _shown(builder, *(_process(index) for index in range(many)))
    assert "and 5 more, in summary.json" in text
    assert f"processes 0-{many - 1}: C_Initialize(OS locking)" in text


def test_a_trace_without_calls_says_what_may_be_done() -> None:
    assert "no process called PKCS#11 through the tap" in _shown(TrialBuilder(), _process(0))


@pytest.mark.parametrize(("numbers", "text"), [([1], "1"), ([1, 2, 3, 7], "1-3, 7"), ([0, 2], "0, 2"), ([4, 5], "4-5")])
def test_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text
