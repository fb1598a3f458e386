"""How births of a real server's processes are seen and dated."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.worker import real_server
from lab.worker.real_server import Tree

PARENT = ("sh", "-c", "read line; sleep 60 & wait")


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(real_server, "report", lambda what, **facts: told.append(facts))
    return told


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has a child once it is told to."""
    started = subprocess.Popen(PARENT, stdin=subprocess.PIPE, start_new_session=True)
    yield started
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate()


def test_a_glance_sees_a_new_child_which_is_dated_between_two_glances(
    parent: subprocess.Popen[bytes], reports: list[dict[str, Any]]
) -> None:
    tree = Tree(set(), 0)
    tree.look()
    assert not tree.glance(parent.pid)
    assert parent.stdin is not None
    before_ns = tree.glanced_ns
    parent.stdin.write(b"\n")
    parent.stdin.flush()
    while not tree.glance(parent.pid):
        assert parent.poll() is None
    after_ns = time.monotonic_ns()
    tree.look()
    child = next(one for one in reports if one["parent"] == parent.pid)
    assert before_ns <= tree.glanced_ns <= child["at_ns"] <= after_ns
    assert not tree.glance(parent.pid)


def test_one_that_has_ended_and_is_not_reaped_yet_is_not_born_again(reports: list[dict[str, Any]]) -> None:
    child = subprocess.Popen(("true",))
    tree = Tree(set(), 0)
    (member,) = (one for one in tree.look() if one.pid == child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    member.ended = True
    try:
        assert [one.pid for _ in range(200) for one in tree.look()].count(child.pid) == 0
    finally:
        child.wait()
    assert [one["pid"] for one in reports].count(child.pid) == 1
