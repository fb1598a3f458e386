"""What libp11 tells C_Initialize of threads before and after a fork, and what the tap makes of it where it is to."""

from __future__ import annotations

import pytest

from tests.combined import Sealed, Tables, run
from tests.runs import balanced

BASE = (
    '[workload]\nkind = "handshake"\n[topology]\nkind = "worker"\nprocesses = 2\nthreads = 4\n'
    '[token]\nreset_on_fork = true\n[tls]\nbridge = "engine"\ntimeout_s = 1\n'
    '[load]\nmode = "closed"\nclients = 12\nwarmup_s = 0\nduration_s = 1\n'
)
ARMS: dict[str, Tables] = {
    f"{policy} {locking}": {"context": {"policy": policy, **({} if locking == "asked" else {"locking": locking})}}
    for policy in ("shared", "per-process")
    for locking in ("asked", "os")
}


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("locking"), BASE, ARMS)


def _initialized(one: Sealed) -> dict[str, set[str]]:
    """What C_Initialize was told in the root and in servers; "changed" where the tap told it something else."""
    rows = one.calls[one.calls.function == "C_Initialize"]
    found: dict[str, set[str]] = {}
    for row in rows.itertuples():
        asked = row.locking if isinstance(row.locking, str) else "changed"
        found.setdefault("servers" if row.process else "root", set()).add(asked)
    return found


@pytest.mark.parametrize("policy", ["shared", "per-process"])
def test_threads_are_safe_in_every_process_where_the_tap_declares_them(policy: str, arms: dict[str, Sealed]) -> None:
    """After a fork, threads that come first at once find libp11 in the middle of initialising again: they may fail, or,
    where SoftHSM has lost its token for a moment, wait for a session for ever, or a child may fail as long as it lives,
    with what its key has become. None crashes.
    """
    arm = arms[f"{policy} os"].arm
    assert balanced(arm)
    assert arm["locking"] == "os"
    assert arm["info"] == 0
    assert arm["ok"] > 0
    if policy == "per-process":  # nobody initialises while others serve
        assert arm["fail"] == 0
        assert arm["processes"]["hung"] == 0
    assert "signal" not in {failure["layer"] for failure in arm["failures"]}
    assert arm["processes"]["crashed"] == 0
    assert arm["rules"]["no-crash"]["verdict"] == "conforms"


def test_what_libp11_asks_for_itself_is_passed_on_and_on_record(arms: dict[str, Sealed]) -> None:
    """It declares OS locking where it first initialises, and nothing at all where it does so again after a fork."""
    asked = arms["shared asked"]
    assert asked.arm["locking"] is None
    assert _initialized(asked) == {"root": {"os"}, "servers": {"null_argument"}}
    found = asked.arm["rules"]["locking-declared"]
    assert found["verdict"] == "violates"
    assert "although C_Initialize was given NULL" in found["evidence"]
    assert _initialized(arms["per-process asked"]) == {"servers": {"os"}}
    assert arms["per-process asked"].arm["rules"]["locking-declared"]["verdict"] == "conforms"


def test_the_rule_is_judged_by_what_libp11_asked_and_says_what_the_tap_did(arms: dict[str, Sealed]) -> None:
    changed = arms["shared os"]
    assert _initialized(changed) == {"root": {"os"}, "servers": {"changed"}}
    found = changed.arm["rules"]["locking-declared"]
    assert found["verdict"] == "violates"
    assert "the tap declared OS locking instead" in found["evidence"]


def test_what_becomes_of_threads_that_were_not_declared_is_counted_by_name(arms: dict[str, Sealed]) -> None:
    """With 0.4.12 servers die, and clients with them; whether one does in this second is not for a test to say."""
    arm = arms["shared asked"].arm
    assert balanced(arm)
    crashed = [worker for worker in arms["shared asked"].workers if worker["end"] == "signal"]
    assert sum(f["count"] for f in arm["failures"] if f["layer"] == "signal") == len(crashed)
    assert arm["ok"] == arm["planned"] or arm["failures"]
