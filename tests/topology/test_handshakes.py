"""Handshakes from end to end: a real token, real forks, real TLS, in every shape that a scenario can ask for."""

from __future__ import annotations

from itertools import product

import pytest

from tests.combined import LOAD_PHASES, Sealed, Tables, run
from tests.runs import balanced

PLANNED = 24
LOAD = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 160\nwarmup_s = 0.05\nduration_s = 0.1\n'
BASE = f'{LOAD}[token]\nreset_on_fork = false\n[workload]\nkind = "handshake"\n'

SHAPES: Tables = {
    "prefork": {"processes": 2},
    "worker": {"processes": 2, "threads": 2},
    "event": {"processes": 2},
    "threads": {"threads": 3},
    "spawn": {"processes": 2},
}
POLICIES: Tables = {
    "handles": {"policy": "shared", "inherit": "sessions"},
    "own-sessions": {"policy": "shared", "inherit": "context"},
    "per-process": {"policy": "per-process"},
    "reinit": {"policy": "reinit"},
}
SESSIONS = ("per-thread", "per-process", "pool", "per-operation")
KEYS = ("ec-p256", "ec-p384", "rsa-2048", "rsa-3072")


def _topologies() -> dict[str, Tables]:
    arms: dict[str, Tables] = {}
    for (kind, shape), policy in product(SHAPES.items(), POLICIES):
        if kind in ("prefork", "worker", "event") or policy == "per-process":
            topology = {"kind": kind, **shape}
            arms[f"{kind} {policy}"] = {"topology": topology, "context": POLICIES[policy]}
    for session in SESSIONS:
        arms[f"worker {session}"] = {
            "topology": {"kind": "worker", "processes": 2, "threads": 2},
            "context": {"policy": "per-process", "session": session},
        }
    return arms


def _keys() -> dict[str, Tables]:
    arms: dict[str, Tables] = {
        f"{key} {version}": {"workload": {"key": key}, "tls": {"version": version}}
        for key, version in product(KEYS, ("1.2", "1.3"))
    }
    arms["static"] = {"workload": {"key": "rsa-2048"}, "tls": {"version": "1.2", "key_exchange": "rsa"}}
    return arms


def _bridges() -> dict[str, Tables]:
    arms: dict[str, Tables] = {}
    for bridge, policy, key in product(("engine", "provider"), ("shared", "per-process", "reinit"), KEYS[::2]):
        # one child: pkcs11-provider logs in again within the fork, and SoftHSM loses a token when several do so at once
        topology = {"processes": 1 if (bridge, policy) == ("provider", "shared") else 2}
        arms[f"{bridge} {policy} {key}"] = {
            "topology": topology,
            "workload": {"key": key},
            "tls": {"bridge": bridge},
            "context": {"policy": policy},
        }
    for bridge, version, key in product(("engine", "provider"), ("1.2", "1.3"), ("ec-p256", "ec-p384", "rsa-2048")):
        arms[f"{bridge} {version} {key}"] = {
            "workload": {"key": key},
            "tls": {"bridge": bridge, "version": version},
            "context": {"policy": "per-process"},
        }
    arms["provider static"] = {
        "workload": {"key": "rsa-2048"},
        "tls": {"bridge": "provider", "version": "1.2", "key_exchange": "rsa"},
    }
    return arms


def _hosts() -> dict[str, Tables]:
    return {f"{by} {vhosts}": {"tls": {"vhosts": vhosts, "vhost_by": by}} for by in ("sni", "ip") for vhosts in (1, 3)}


TOPOLOGIES, VERSIONS, BRIDGES, HOSTS = _topologies(), _keys(), _bridges(), _hosts()
EVERYTHING = {**TOPOLOGIES, **VERSIONS, **BRIDGES, **HOSTS}
SOFTWARE = '[workload]\nkind = "handshake"\n[tls]\nbridge = "software"\n'


def _signs(one: Sealed) -> str:
    """pkcs11-provider lets the token hash for RSA, in pieces."""
    rsa = str(one.arm["workload"]["key"]).startswith("rsa")
    return "C_SignFinal" if one.arm["bridge"] == "provider" and rsa else "C_Sign"


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("handshakes"), BASE, EVERYTHING)


@pytest.fixture
def one(arms: dict[str, Sealed], request: pytest.FixtureRequest) -> Sealed:
    return arms[request.param]


every = pytest.mark.parametrize("one", EVERYTHING, indirect=True)


@every
def test_every_planned_handshake_ends_well_and_has_a_row_on_both_sides(one: Sealed) -> None:
    arm = one.arm
    assert balanced(arm)
    assert (arm["ok"], arm["verified"], arm["failures"]) == (PLANNED, PLANNED, [])
    clients, servers = one.connections_of("client"), one.connections_of("server")
    assert (len(clients), len(servers)) == (PLANNED, PLANNED)
    assert clients.random.is_unique
    assert set(clients.random) == set(servers.random)
    assert arm["connections"]["accepted"] == arm["connections"]["joined"] == PLANNED
    assert set(servers.process) <= {worker["index"] for worker in one.workers}


@every
def test_every_handshake_used_the_key_once_within_its_own_steps(one: Sealed) -> None:
    """Found by process, thread and time alone, as for a server whose inside the lab does not know."""
    used = one.calls[one.calls.function.isin(["C_Sign", "C_SignFinal", "C_Decrypt"])]
    assert set(used.function) == {"C_Decrypt" if one.arm["tls"]["key_exchange"] == "rsa" else _signs(one)}
    found = 0
    for connection in one.connections_of("server").itertuples():
        mine = used[(used.process == connection.process) & (used.tid == connection.tid)]
        within = (mine.started_ns >= connection.opened_ns) & (mine.ended_ns <= connection.ended_ns)
        steps = [
            (getattr(connection, f"step{n}_started_ns"), getattr(connection, f"step{n}_ended_ns")) for n in range(1, 5)
        ]
        inside = [
            any(a <= call.started_ns and call.ended_ns <= b for a, b in steps) for call in mine[within].itertuples()
        ]
        assert sum(inside) == 1
        found += 1
    assert found == PLANNED


@every
def test_what_a_client_got_is_what_one_call_of_its_server_s_process_and_thread_signed(one: Sealed) -> None:
    """Found by the signature alone. Where the key decrypts instead, nothing is signed."""
    clients, servers = one.connections_of("client"), one.connections_of("server")
    signed = one.calls[one.calls.function.isin(["C_Sign", "C_SignFinal"]) & (one.calls.tag != 0)]
    if one.arm["tls"]["key_exchange"] == "rsa":
        assert not clients.tag.any()
        assert one.arm["connections"]["signed"] == {"found": 0, "of": 0, "same_process": 0}
        return
    assert clients.tag.is_unique
    both = clients.merge(signed, on="tag", validate="one_to_one", suffixes=("_client", "_call"))
    both = both.merge(servers, on="random", validate="one_to_one", suffixes=("", "_server"))
    assert len(both) == PLANNED  # a parent may sign more, to see whether it can
    assert both.process_call.tolist() == both.process.tolist()
    assert both.tid_call.tolist() == both.tid.tolist()
    assert not servers.tag.any()
    assert one.arm["connections"]["signed"] == dict.fromkeys(("found", "of", "same_process"), PLANNED)


@every
def test_a_client_s_row_has_no_session_and_a_server_s_has_its_own_where_the_lab_signs(one: Sealed) -> None:
    assert not one.connections_of("client").session.any()
    servers = one.connections_of("server")
    assert (servers.session != 0).all() == servers.session.any() == (one.arm["bridge"] == "direct")


@every
def test_the_parts_of_a_handshake_add_up_to_its_response(one: Sealed) -> None:
    where = one.arm["where_ms"]
    assert set(where) == {"late", "accept", "waiting", "software", "token", "back"}
    assert where["token"]["mean"] > 0
    measured = one.operations[(one.operations.phase == "measured") & (one.operations.kind == "handshake")]
    response_ms = ((measured.ended_ns - measured.intended_ns) / 1e6).mean()
    assert sum(part["mean"] for part in where.values()) == pytest.approx(response_ms, rel=1e-9)


@pytest.mark.parametrize("one", TOPOLOGIES, indirect=True)
def test_each_thread_of_a_server_has_its_rows_and_each_process_its_sessions(one: Sealed) -> None:
    topology = one.arm["topology"]
    servers = one.connections_of("server")
    assert set(servers.thread) <= set(range(topology["threads"]))
    assert one.arm["sessions"]["leaked"] == 0
    assert one.arm["sessions"]["opened"] > 0


@every
def test_the_module_sees_no_more_threads_than_the_topology_has(one: Sealed) -> None:
    for worker in one.workers:
        assert one.calls_of(worker["index"]).tid.nunique() <= one.arm["topology"]["threads"]


@pytest.mark.parametrize("one", [name for name in TOPOLOGIES if "per-process" in name], indirect=True)
def test_a_context_of_its_own_breaks_no_rule(one: Sealed) -> None:
    broken = {rule: found for rule, found in one.arm["rules"].items() if found["verdict"] == "violates"}
    assert broken == {}


@pytest.mark.parametrize("one", [name for name in TOPOLOGIES if "handles" in name], indirect=True)
def test_inherited_handles_break_the_rules_although_every_handshake_ends_well(one: Sealed) -> None:
    rules = one.arm["rules"]
    assert rules["initialize-per-process"]["verdict"] == rules["own-handles"]["verdict"] == "violates"


@pytest.mark.parametrize("one", HOSTS, indirect=True)
def test_each_host_answers_with_its_own_key_and_is_accounted_for_per_process(one: Sealed) -> None:
    count = one.arm["hosts"]["count"]
    servers = one.connections_of("server")
    assert servers.groupby("vhost").size().to_dict() == dict.fromkeys(range(count), PLANNED // count)
    contexts = one.operations[one.operations.kind == "tls_context"]
    assert contexts.groupby("process").vhost.apply(list).to_dict() == {
        n["index"]: list(range(count)) for n in one.workers
    }
    found = one.calls[one.calls.function == "C_FindObjects"]
    assert found.object.nunique() >= count


@pytest.mark.parametrize("one", BRIDGES, indirect=True)
def test_a_key_through_the_library_of_a_bridge_is_no_key_search_of_the_labs(one: Sealed) -> None:
    assert "open_key" in set(one.operations.kind)
    assert not {"find_key", "login", "initialize"} & set(one.operations.kind)
    assert one.arm["hosts"]["cold_ms"]["find_key"] > 0
    assert (one.arm["cold_ms"]["open_key"] is None) is (one.arm["context"] == "shared")


def test_the_floor_of_a_handshake_needs_no_token(tmp_path_factory: pytest.TempPathFactory) -> None:
    (one,) = run(tmp_path_factory.mktemp("floor"), LOAD + SOFTWARE, {"floor": {}}).values()
    assert (one.arm["ok"], one.arm["token"], one.arm["context"]) == (PLANNED, None, None)
    assert one.calls.empty
    assert not one.connections.tag.any()  # no tap, no key of tags
    assert one.arm["connections"]["signed"] == {"found": 0, "of": 0, "same_process": 0}
    assert one.arm["where_ms"]["token"]["mean"] == 0
    assert one.operations_of(one.generators[0]["index"], LOAD_PHASES).shape[0] == PLANNED
