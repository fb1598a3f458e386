"""The sleeper: a thread that notes how late it is woken."""

from __future__ import annotations

import threading
import time

import pytest
from annotated_types import Le

from lab.native import sleeping
from lab.native.sleeping import Sleeper
from lab.scenario.models import Load


def test_it_sleeps_until_it_is_stopped_and_notes_each_sleep() -> None:
    begun_ns = time.monotonic_ns()
    sleeper = Sleeper()
    while not sleeper._late_ns[2]:
        time.sleep(0)  # lets the sleeper have the processor: it tells nobody that it has begun
    late_ns = sleeper.stop()
    elapsed_ns = time.monotonic_ns() - begun_ns
    assert late_ns.size > 2
    assert late_ns.min() >= 0  # nanosleep(2) never ends early, unless for a signal
    assert int(late_ns.sum()) + 1_000_000 * late_ns.size <= elapsed_ns
    assert "sleeper" not in [thread.name for thread in threading.enumerate()]


def test_there_is_room_for_the_longest_load_that_a_scenario_can_ask_for() -> None:
    longest_s = sum(
        limit.le
        for name in ("warmup_s", "duration_s")
        for limit in Load.model_fields[name].metadata
        if isinstance(limit, Le) and isinstance(limit.le, int)
    )
    assert longest_s == 7_200
    assert longest_s * 1000 <= sleeping.CAPACITY  # a sleep is never shorter than a millisecond


def test_it_ends_by_itself_where_there_is_no_room_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sleeping, "CAPACITY", 3)
    sleeper = Sleeper()
    sleeper._thread.join()
    assert sleeper.stop().size == 3
