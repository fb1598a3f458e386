"""Reloads, children of few connections, and kills: who lived when, what failed, and what the new ones paid."""

from __future__ import annotations

from typing import Any

import pytest

from lab.analysis.facts import TrialFacts
from lab.analysis.restarts import Kill, Restart
from lab.record.model import ProcessRecord
from tests.server_trials import CLIENT, child, fresh, master, opened, server_trial, summary_of
from tests.trial_builder import TrialBuilder


def examined(builder: TrialBuilder, *processes: ProcessRecord, **fields: Any) -> TrialFacts:
    return builder.examine(server_trial(master(), *processes, duration_ns=1_000_000_000, **fields))


def served(builder: TrialBuilder, index: int, born: float, number: int) -> TrialBuilder:
    """A worker that makes its context 10 ms after its birth, and has served one handshake 20 ms after it."""
    fresh(builder, index, born + 10)
    builder.connection(index, "server", random=number, opened=born + 8, ended=born + 20)
    builder.connection(CLIENT, "client", random=number, operation=number - 1, opened=born + 7, ended=born + 20)
    return builder.operation(CLIENT, number - 1, at=born + 7, lasts=13, kind="handshake")


def reloaded(**server: Any) -> TrialFacts:
    """Workers 2 and 3 of before; a reload at 500 ms bears 4 and 5; 2 leaves at once and 3 after 100 ms."""
    builder = opened(TrialBuilder())
    for number, (index, born) in enumerate(((2, 10), (3, 20), (4, 505), (5, 510)), start=1):
        served(builder, index, born, number)
    for sequence, at in ((4, 450), (5, 520), (6, 530), (7, 900)):
        builder.operation(CLIENT, sequence, at=at, lasts=2, kind="handshake", outcome="fail", layer="network", code=104)
    processes = (child(2, gone=501), child(3, gone=600), child(4, born=505), child(5, born=510))
    return examined(builder, *processes, planned=8, server={"reload_ns": 500.0} | server)


def restart_of(facts: TrialFacts) -> Restart:
    assert facts.server is not None
    assert facts.server.restart is not None
    return facts.server.restart


def test_a_reload_tells_who_left_and_how_many_lived_at_once() -> None:
    found = restart_of(reloaded())
    assert (found.reload_ms, found.workers_before, found.workers_peak) == (500, 2, 3)
    assert (found.left, found.stayed, found.leave_ms) == (2, 0, (1, 100))
    assert found.settled_ms == 100


def test_sessions_of_the_gone_are_closed() -> None:
    found = restart_of(reloaded())  # the master has one, each worker one
    assert (found.sessions_before, found.sessions_peak) == (3, 4)


def test_handshakes_are_told_before_within_and_after_the_reload() -> None:
    found = restart_of(reloaded())
    assert (found.before, found.within, found.after) == ((2, 1), (2, 2), (0, 1))


def test_each_new_child_tells_what_its_first_handshake_took() -> None:
    first, second = restart_of(reloaded()).children
    assert (first.process, first.to_first_handshake_ms, first.first_handshake_ms) == (4, 20, 12)
    assert (first.after_reload_ms, second.after_reload_ms) == (25, 30)
    assert first.cold_start_ms == pytest.approx(5.5)


def test_a_population_that_doubles_is_said_to() -> None:
    arm = summary_of(reloaded())["real_server"]["restart"]
    population = {"before": 2, "peak": 3, "ratio": 1.5, "doubled": False, "least": 1}
    assert arm["population"] == population | {"none_ms": {"median": 0, "max": 0}}
    builder = opened(TrialBuilder())
    processes = (child(2), child(3, gone=700), child(4, born=510), child(5, born=520))
    facts = examined(builder, *processes, server={"reload_ns": 500.0})
    arm = summary_of(facts)["real_server"]["restart"]
    population = {"before": 2, "peak": 4, "ratio": 2.0, "doubled": True, "least": 2}
    assert arm["population"] == population | {"none_ms": {"median": 0, "max": 0}}
    assert arm["old"] == {"left": 1, "stayed": 1, "leave_ms": {"median": 200, "max": 200}}
    assert (arm["children"]["born"], arm["children"]["served"]) == (2, 0)
    assert arm["children"]["first_handshake_ms"] == {"median": None, "max": None}


def test_a_time_without_any_worker_is_told() -> None:
    builder = opened(TrialBuilder())
    served(builder, 4, 540, 1)
    processes = (child(2, gone=503), child(3, gone=510), child(4, born=540), child(5, born=560))
    facts = examined(builder, *processes, planned=1, server={"reload_ns": 500.0})
    assert (restart_of(facts).workers_least, restart_of(facts).none_ms) == (0, 30)
    assert summary_of(facts)["real_server"]["restart"]["population"]["none_ms"] == {"median": 30, "max": 30}


def test_the_summary_adds_trials_up_and_pools_their_children() -> None:
    found = summary_of(reloaded(), reloaded())["real_server"]["restart"]
    assert found["reloads"] == 2
    assert found["handshakes"]["within"] == {"ok": 4, "fail": 4}
    assert found["children"]["born"] == 4
    assert found["children"]["after_reload_ms"] == {"median": 27.5, "max": 30}
    assert found["sessions"] == {"before": 3, "peak": 4}


def test_a_reload_that_changed_nothing_is_told_as_such() -> None:
    found = restart_of(examined(opened(TrialBuilder()), child(2), child(3), server={"reload_ns": 500.0}))
    assert (found.left, found.stayed, found.workers_peak, found.settled_ms) == (0, 2, 2, None)
    assert found.workers_least == 2
    assert found.children == ()


def test_a_reload_that_one_of_the_old_survived_never_settled() -> None:
    builder = served(served(opened(TrialBuilder()), 4, 510, 1), 5, 520, 2)
    processes = (child(2), child(3, gone=600), child(4, born=510), child(5, born=520))
    found = restart_of(examined(builder, *processes, planned=2, server={"reload_ns": 500.0}))
    assert (found.left, found.stayed, found.settled_ms) == (1, 1, None)


def test_a_worker_that_left_before_the_reload_is_none_of_the_old() -> None:
    processes = (child(2), child(3, gone=400), child(4, born=410))
    found = restart_of(examined(opened(TrialBuilder()), *processes, server={"reload_ns": 500.0}))
    assert (found.left, found.stayed, found.workers_before) == (0, 2, 2)


def test_children_that_end_after_some_connections_are_a_restart_without_a_reload() -> None:
    builder = opened(TrialBuilder())
    served(served(builder, 2, 10, 1), 3, 300, 2)
    found = restart_of(examined(builder, child(2, gone=290), child(3, born=300), planned=2))
    assert (found.reload_ms, found.workers_before, found.left, found.leave_ms) == (None, 1, 1, ())
    assert [(one.process, one.after_reload_ms, one.to_first_handshake_ms) for one in found.children] == [(3, None, 20)]


def test_a_population_that_stays_is_no_restart() -> None:
    for processes in ((child(2), child(3)), (child(2), child(3, gone=1100)), (child(2), child(3, born=400))):
        facts = examined(opened(TrialBuilder()), *processes)
        assert facts.server is not None
        assert (facts.server.restart, facts.server.kill) == (None, None)


def killed(replaced: bool) -> TrialFacts:
    builder = opened(TrialBuilder())
    served(builder, 2, 10, 1)
    if replaced:
        served(builder, 3, 450, 2)
    for sequence, at in ((2, 399), (3, 401), (4, 900)):
        builder.operation(CLIENT, sequence, at=at, lasts=2, kind="handshake", outcome="fail", layer="network", code=104)
    dead = child(2, gone=400, end="signal", status=9)
    processes = (dead, child(3, born=450)) if replaced else (dead,)
    return examined(builder, *processes, planned=5, server={"kill_ns": 400.0, "killed": 2})


def test_a_kill_tells_when_its_place_was_taken_and_what_failed_meanwhile() -> None:
    facts = killed(replaced=True)
    assert facts.server is not None
    assert facts.server.kill == Kill(killed=2, born_ms=50, replaced_ms=70, failed=2)
    assert facts.server.restart is None
    found = summary_of(facts)["real_server"]["kill"]
    assert (found["killed"], found["replaced"], found["fail"]) == (1, 1, 2)
    assert found["replaced_ms"] == {"median": 70, "max": 70}


def test_a_kill_whose_place_nobody_took_is_told_as_such() -> None:
    facts = killed(replaced=False)
    assert facts.server is not None
    assert facts.server.kill == Kill(killed=2, born_ms=None, replaced_ms=None, failed=3)


def test_what_is_drawn_over_time_counts_from_the_release() -> None:
    facts = reloaded()
    assert facts.server is not None
    over = facts.server.over_time
    assert over is not None
    assert (over.reload_ns, over.kill_ns, over.until_ns) == (500_000_000, None, 1_000_000_000)
    assert over.workers[1].tolist() == [1, 2, 1, 2, 3, 2]
    assert over.failed_ns.tolist() == [450_000_000, 520_000_000, 530_000_000, 900_000_000]


def test_odd_times_end_nothing() -> None:
    builder = opened(TrialBuilder())
    for processes in (
        (child(2, born=900, gone=100), child(3, born_ns=None, gone_ns=5)),
        (child(2, born=-50, gone=-60),),
        (),
    ):
        facts = examined(builder, *processes, server={"reload_ns": 5000.0, "kill_ns": -5.0, "killed": 77})
        assert facts.server is not None
        summary_of(facts)
