"""How the loops get their sessions: one a thread, out of a pool, or one for each operation."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.native.loops import SESSION_OWN, SESSION_PER_OPERATION, SESSION_POOL, Drive
from lab.record.names import FUNCTION_NUMBER
from tests.native.playing import FakeModule, Player

THREADS, OPERATIONS = 6, 200
DEVICE_ERROR = 0x30


@pytest.fixture
def player(built: Path, tmp_path: Path) -> Player:
    return Player(tmp_path, Drive(tmp_path, 1, 1 << 16, 64), FakeModule(built / "fake.so", tmp_path))


def test_a_thread_keeps_its_own_session(player: Player) -> None:
    player.module.set("meet", THREADS)  # all are inside at once, at least once
    player.sign(sessions=tuple(range(11, 11 + THREADS)), session_use=SESSION_OWN)
    player.open_loop([0] * OPERATIONS, threads=THREADS)

    rows = player.rows()
    assert (rows["session"] == 11 + rows["thread"]).all()
    assert player.module.number("most_inside") == THREADS
    assert player.module.number("stolen") == 0


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_pool_lends_all_its_sessions_and_each_to_one_thread_at_a_time(player: Player, size: int) -> None:
    player.module.set("meet", size)  # nobody leaves before as many as the pool has sessions are inside
    player.sign(sessions=tuple(range(11, 11 + size)), session_use=SESSION_POOL)
    player.open_loop([0] * OPERATIONS, threads=THREADS)

    rows = player.rows()
    assert len(rows) == THREADS * OPERATIONS
    assert set(rows["session"]) == set(range(11, 11 + size))
    assert player.module.number("most_inside") == size
    assert player.module.number("stolen") == 0


def test_threads_that_share_sessions_without_a_pool_are_seen_by_this_test_s_module(player: Player) -> None:
    player.module.set("meet", 2)
    player.sign(sessions=(11,), session_use=SESSION_OWN)
    player.open_loop([0] * OPERATIONS, threads=2)

    assert player.module.number("most_inside") == 2
    assert player.module.number("stolen") > 0


@pytest.mark.parametrize("failing", ["C_SignInit", "C_Sign"])
def test_a_session_of_the_pool_comes_back_after_a_failure(player: Player, failing: str) -> None:
    player.module.answer(failing, DEVICE_ERROR)
    player.sign(sessions=(11, 12), session_use=SESSION_POOL)

    assert player.open_loop([0] * OPERATIONS, threads=THREADS) == [OPERATIONS] * THREADS
    assert set(player.rows()["code"]) == {DEVICE_ERROR}


@pytest.mark.parametrize("kind", ["sign", "random", "session_churn"])
def test_a_session_for_each_operation_is_opened_and_closed_as_often(player: Player, kind: str) -> None:
    player.sign(kind=kind, session_use=SESSION_PER_OPERATION)
    player.open_loop([0] * 23, threads=2)

    assert [player.module.calls(name) for name in ("C_OpenSession", "C_CloseSession")] == [46, 46]
    assert len(set(player.rows()["session"])) == 46


@pytest.mark.parametrize("kind", ["sign", "random"])
def test_a_session_is_closed_also_after_a_failure_which_stays_the_outcome(player: Player, kind: str) -> None:
    failing = "C_Sign" if kind == "sign" else "C_GenerateRandom"
    player.module.answer(failing, DEVICE_ERROR)
    player.module.answer("C_CloseSession", DEVICE_ERROR + 1)
    player.sign(kind=kind, session_use=SESSION_PER_OPERATION)
    player.open_loop([0] * 23)

    assert player.module.calls("C_CloseSession") == 23
    assert set(player.rows()["code"]) == {DEVICE_ERROR}
    assert set(player.rows()["function"]) == {FUNCTION_NUMBER[failing]}


@pytest.mark.parametrize("kind", ["sign", "session_churn"])
@pytest.mark.parametrize("failing", ["C_OpenSession", "C_CloseSession"])
def test_a_session_that_does_not_open_or_close_is_a_failed_operation(player: Player, kind: str, failing: str) -> None:
    player.module.answer(failing, DEVICE_ERROR)
    player.sign(kind=kind, session_use=SESSION_PER_OPERATION)
    player.open_loop([0] * 23)

    rows = player.rows()
    assert set(rows["code"]) == {DEVICE_ERROR}
    assert set(rows["function"]) == {FUNCTION_NUMBER[failing]}
    assert player.module.calls("C_CloseSession") == (23 if failing == "C_CloseSession" else 0)
    assert player.module.calls("C_Sign") == (23 if kind == "sign" and failing == "C_CloseSession" else 0)
