"""What strangers and a useless token do to a run of handshakes: counted by name, in the exact number, and no more."""

from __future__ import annotations

from itertools import product

import pytest

from tests.combined import Sealed, Tables, run, sealed
from tests.runs import Place, balanced
from tests.topology.conftest import Mischief

# A silent client holds a prefork process until the time-out: it is short, and there are more processes than that.
LOAD = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 100\nwarmup_s = 0.05\nduration_s = 0.75\n'
PLANNED = 80
INTRUDERS = {"silent": 7, "rubbish": 5, "reset": 4, "mismatch": 3}
BASE = f'{LOAD}intruders = {{ silent = 7, rubbish = 5, reset = 4, mismatch = 3 }}\n[workload]\nkind = "handshake"\n'
SHAPES: Tables = {
    "prefork": {"processes": 10},
    "worker": {"processes": 3, "threads": 4},
    "event": {"processes": 2},
    "spawn": {"processes": 10},
}
MANY_SILENT = 50


def _arms() -> dict[str, Tables]:
    arms: dict[str, Tables] = {
        f"{kind} {version}": {"topology": {"kind": kind, **shape}, "tls": {"version": version, "timeout_s": 1}}
        for (kind, shape), version in product(SHAPES.items(), ("1.2", "1.3"))
    }
    for kind in ("prefork", "event"):
        hosts = {"timeout_s": 1, "vhosts": 2, "vhost_by": "ip"}
        arms[f"{kind} 2 hosts"] = {"topology": {"kind": kind, **SHAPES[kind]}, "tls": hosts}
    return arms


ARMS = _arms()


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("strangers"), BASE, ARMS)


@pytest.fixture
def one(arms: dict[str, Sealed], request: pytest.FixtureRequest) -> Sealed:
    return arms[request.param]


every = pytest.mark.parametrize("one", ARMS, indirect=True)


@every
def test_strangers_do_no_harm_to_the_clients_beside_them(one: Sealed) -> None:
    assert balanced(one.arm)
    assert (one.arm["planned"], one.arm["ok"], one.arm["verified"]) == (PLANNED, PLANNED, PLANNED)
    assert one.arm["connections"]["joined"] == PLANNED
    assert one.arm["failures"] == []  # strangers have a list of their own


@every
def test_strangers_are_counted_by_name_and_in_their_exact_number(one: Sealed) -> None:
    unlike = "no shared cipher" if one.arm["tls"]["version"] == "1.2" else "no shared version"
    assert {(stranger["layer"], stranger["code"]): stranger["count"] for stranger in _strangers(one)} == {
        ("network", "timed out (ETIMEDOUT)"): INTRUDERS["silent"],
        ("tls", "not TLS"): INTRUDERS["rubbish"],
        ("network", "reset (ECONNRESET)"): INTRUDERS["reset"],
        ("tls", unlike): INTRUDERS["mismatch"],
    }
    assert len(one.connections_of("server")) == one.arm["connections"]["accepted"] == PLANNED + sum(INTRUDERS.values())
    assert len(one.connections_of("client")) == PLANNED


@every
def test_no_process_is_lost_to_a_stranger(one: Sealed) -> None:
    assert {(p["end"], p["status"], p["finished"]) for p in one.trial["processes"]} == {("exit", 0, True)}
    assert (one.arm["processes"]["crashed"], one.arm["processes"]["hung"]) == (0, 0)
    assert one.arm["sessions"]["leaked"] == 0


def _strangers(one: Sealed) -> list[dict[str, object]]:
    found: list[dict[str, object]] = one.arm["connections"]["strangers"]
    return found


def test_a_loop_that_holds_many_silent_clients_answers_the_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = f'{LOAD}intruders = {{ silent = {MANY_SILENT} }}\n[workload]\nkind = "handshake"\n'
    shape = {"topology": {"kind": "event", "processes": 1}, "tls": {"timeout_s": 2}}  # longer than the load
    (one,) = run(tmp_path_factory.mktemp("silent"), base, {"event": shape}).values()
    assert one.arm["ok"] == PLANNED
    assert _strangers(one) == [{"layer": "network", "code": "timed out (ETIMEDOUT)", "count": MANY_SILENT}]
    served, silent = (rows for _, rows in one.connections_of("server").groupby(lambda row: _is_silent(one, row)))
    assert silent.ended_ns.min() > served.ended_ns.max()  # all were held while the others were served


def _is_silent(one: Sealed, row: int) -> bool:
    return bool(one.connections.random[row] == 0)


HANDSHAKES = '[workload]\nkind = "handshake"\n'
OPEN = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 100\nwarmup_s = 0.1\nduration_s = 0.3\n'
CLOSED = '[load]\nmode = "closed"\nclients = 4\nwarmup_s = 0.1\nduration_s = 0.3\n'


def _all_refused(one: Sealed) -> None:
    assert balanced(one.arm)
    assert one.arm["fail"] == one.arm["planned"] > 0
    refused = [(f["layer"], f["code"], f["count"]) for f in one.arm["failures"] if f["side"] == "client"]
    assert refused == [("network", "refused (ECONNREFUSED)", one.arm["planned"])]
    assert {(p["end"], p["status"], p["finished"]) for p in one.trial["processes"]} == {("exit", 0, True)}
    assert one.arm["connections"]["accepted"] == 0
    assert one.arm["response_ms"]["p50"] is None


@pytest.mark.parametrize("load", [OPEN, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("shape", ["prefork", "worker", "event"])  # a spawned one is no child to the module
def test_servers_whose_token_fails_every_set_up_have_all_clients_refused(
    shape: str, load: str, place: Place, mischief: Mischief
) -> None:
    keys = "".join(f"{key} = {value}\n" for key, value in SHAPES[shape].items())
    tables = f'[topology]\nkind = "{shape}"\n{keys}[context]\npolicy = "reinit"\n{HANDSHAKES}{load}'
    path = mischief.scenario("error@C_Login#1+", tables, once=False)
    done = place.run(path, "--quiet", environment=mischief.environment)
    assert done.returncode == 0, done.stderr
    (one,) = sealed(place).values()
    _all_refused(one)
    named = {f["code"]: f["setup"] for f in one.arm["failures"] if f["layer"] == "pkcs11"}
    assert named == {"CKR_DEVICE_ERROR": SHAPES[shape]["processes"]}
    assert all("C_Login" in worker["detail"] for worker in one.workers)
    assert place.leftovers() == []


def test_a_token_that_noticed_the_fork_lets_no_child_open_a_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = f'{OPEN}[token]\nreset_on_fork = true\n[context]\npolicy = "shared"\ninherit = "context"\n{HANDSHAKES}'
    arms: dict[str, Tables] = {kind: {"topology": {"kind": kind, "processes": 3}} for kind in ("prefork", "event")}
    for one in run(tmp_path_factory.mktemp("noticed"), base, arms).values():
        _all_refused(one)
        named = {f["code"]: f["setup"] for f in one.arm["failures"] if f["setup"]}
        assert named == {"CKR_CRYPTOKI_NOT_INITIALIZED": 3}


def test_one_server_whose_set_up_fails_leaves_the_clients_to_the_others(place: Place, mischief: Mischief) -> None:
    tables = f'[topology]\nprocesses = 3\n[context]\npolicy = "reinit"\n{HANDSHAKES}{OPEN}'
    done = place.run(mischief.scenario("error@C_Login#1", tables), "--quiet", environment=mischief.environment)
    assert done.returncode == 0, done.stderr
    (one,) = sealed(place).values()
    assert one.arm["ok"] == one.arm["planned"] > 0
    assert one.arm["connections"]["join_share"] == 1.0
    failed = [worker["index"] for worker in one.workers if worker["detail"]]
    assert len(failed) == 1
    assert not set(failed) & set(one.connections_of("server").process)
