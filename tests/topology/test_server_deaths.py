"""Ways for a server to die under its clients, in a table: each is named on both sides, and nothing is left behind."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import cache

import pytest

from lab.topology.site import free_port
from tests.combined import Sealed, Tables
from tests.topology.conftest import Death, Deaths
from tests.topology.serving import HANDSHAKES, HERE, IN_WORDS, OPEN, RELOADED, SHAPES, balanced_and_joined, is_free

DEATHS = {
    "SIGSEGV in a handshake": Death("sigsegv@C_Sign#3", "signal", signal.SIGSEGV, "signal", "SIGSEGV", "C_Sign"),
    "SIGKILL in a handshake": Death("sigkill@C_Sign#3", "signal", signal.SIGKILL, "signal", "SIGKILL", "C_Sign"),
    "exit(0) in a handshake": Death("exit0@C_Sign#3", "exit", 0, "exit", "exit status 0 in mid-operation", "C_Sign"),
    "a hang in a handshake": Death("hang@C_Sign#3", "hang", 0, "hang", "hung in C_Sign", "C_Sign"),
    "SIGSEGV in the set-up": Death("sigsegv@C_Login#1", "signal", signal.SIGSEGV, "signal", "SIGSEGV", "C_Login"),
    "SIGKILL in the set-up": Death("sigkill@C_Login#1", "signal", signal.SIGKILL, "signal", "SIGKILL", "C_Login"),
    "exit(0) in the set-up": Death("exit0@C_Login#1", "exit", 0, "exit", "exit status 0 in mid-operation", "C_Login"),
    "a hang in the set-up": Death("hang@C_Login#1", "hang", 0, "hang", "hung in C_Login", "C_Login"),
}


@pytest.fixture(scope="module")
def died(deaths: Deaths) -> Callable[[str], dict[str, Sealed]]:
    """All deaths of servers of one shape, by what mischief.c is told, from one run of the lab."""

    @cache
    def of(shape: str) -> dict[str, Sealed]:
        port = free_port(HERE)
        tables: Tables = {"tls": {"port": port, "timeout_s": 0.5}}
        base = f"timeout_s = 4\n[topology]\n{SHAPES[shape]}{RELOADED}{HANDSHAKES}{OPEN}"
        found = deaths.run(shape, base, DEATHS, tables)
        is_free(port)
        return found

    return of


@pytest.mark.parametrize("name", DEATHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_server_that_dies_is_named_on_both_sides_and_the_others_go_on(
    name: str, shape: str, died: Callable[[str], dict[str, Sealed]]
) -> None:
    death, one = DEATHS[name], died(shape)[name]
    victim = death.is_told(one)
    balanced_and_joined(one)
    in_setup = death.last_call == "C_Login"
    _clients_say(one, in_setup)
    crashed, hung = int(death.end == "signal"), int(death.end == "hang")
    assert (one.arm["processes"]["crashed"], one.arm["processes"]["hung"]) == (crashed, hung)
    if not in_setup:
        _has_its_client(one, victim)


def _clients_say(one: Sealed, in_setup: bool) -> None:
    said = {f["code"]: f["count"] for f in one.arm["failures"] if f["side"] == "client"}
    assert sum(said.values()) == one.arm["fail"] == one.arm["planned"] - one.arm["ok"]
    assert said.keys() <= IN_WORDS
    assert bool(said) is not in_setup  # who dies before it serves has no clients


def _has_its_client(one: Sealed, victim: int) -> None:
    """The handshake in whose signature the server died is found from its client's side."""
    served = one.connections_of("server")
    unfinished = served[(served.process == victim) & (served.ended_ns == 0) & (served.random != 0)]
    assert len(unfinished) >= 1
    assert set(unfinished.random) <= set(one.connections_of("client").random)
