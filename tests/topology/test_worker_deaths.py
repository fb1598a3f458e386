"""Ways for a worker to die, in a table: named, counted and cleaned up."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import cache

import pytest

from tests.combined import Sealed
from tests.runs import balanced
from tests.topology.conftest import Death, Deaths
from tests.topology.test_ways_to_die import OPEN, RELOADED

THREADS = {"prefork": 1, "worker": 2}


DEATHS = {
    "SIGSEGV in a signature": Death("sigsegv@C_Sign#9", "signal", signal.SIGSEGV, "signal", "SIGSEGV", "C_Sign"),
    "SIGKILL in a signature": Death("sigkill@C_Sign#9", "signal", signal.SIGKILL, "signal", "SIGKILL", "C_Sign"),
    "exit(0) in the middle": Death("exit0@C_Sign#9", "exit", 0, "exit", "exit status 0 in mid-operation", "C_Sign"),
    "a hang in a C call": Death("hang@C_Sign#9", "hang", 0, "hang", "hung in C_Sign", "C_Sign"),
    "a fork whose parent dies": Death(
        "fork-and-die@C_Sign#9", "exit", 3, "exit", "exit status 3 in mid-operation", "C_Sign"
    ),
    "SIGSEGV in the set-up": Death("sigsegv@C_Login#1", "signal", signal.SIGSEGV, "signal", "SIGSEGV", "C_Login"),
    "a hang in the set-up": Death("hang@C_OpenSession#1", "hang", 0, "hang", "hung in C_OpenSession", "C_OpenSession"),
}


@pytest.fixture(scope="module")
def died(deaths: Deaths) -> Callable[[str], dict[str, Sealed]]:
    """All deaths in one topology, by what mischief.c is told, from one run of the lab."""

    @cache
    def of(topology: str) -> dict[str, Sealed]:
        shape = f'[topology]\nkind = "{topology}"\nprocesses = 3\nthreads = {THREADS[topology]}\n'
        return deaths.run(topology, f"timeout_s = 4\n{shape}{RELOADED}{OPEN}", DEATHS, {})

    return of


@pytest.mark.parametrize("name", DEATHS)
@pytest.mark.parametrize("topology", THREADS)
def test_a_worker_that_dies_is_named_counted_and_cleaned_up(
    name: str, topology: str, died: Callable[[str], dict[str, Sealed]]
) -> None:
    one = died(topology)[name]
    assert balanced(one.arm)
    assert one.arm["ok"] > 0
    DEATHS[name].is_told(one)
