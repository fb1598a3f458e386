"""The lab's trials of httpd, nginx and stunnel: whole runs, of which nothing gets lost and all ends join."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.combined import Sealed, run
from tests.runs import balanced

BASE = """
[workload]
kind = "handshake"
[load]
mode = "open"
arrivals = "paced"
rate_hz = 50
warmup_s = 0
duration_s = 0.4
"""
PASSABLE = 0o711  # as root the workers are another user than the lab
LOCKED = {"context": {"locking": "os"}}  # libp11 0.4.12 does not ask for it, and threads crash
ONE = {"processes": 1}


def _httpd(kind: str, processes: int, threads: int | None = None, **more: Any) -> dict[str, Any]:
    topology: dict[str, Any] = {"kind": kind, "processes": processes}
    return {"topology": topology | ({"threads": threads} if threads else {}), "tls": {"server": "httpd"} | more}


STATIC = {"version": "1.2", "key_exchange": "rsa"}
BY_IP = {"vhosts": 2, "vhost_by": "ip"}
PROVIDER = {"bridge": "provider"}
RSA = {"workload": {"kind": "handshake", "key": "rsa-2048"}}
DAEMON = {"server": {"foreground": False}}

SIGNED: Mapping[str, dict[str, Any]] = {
    "httpd prefork engine 1.2 sni rsa": _httpd("prefork", 2, version="1.2", vhosts=2) | RSA,
    "httpd prefork provider daemon": _httpd("prefork", 2, **PROVIDER, **BY_IP) | DAEMON,
    "httpd worker engine ip": _httpd("worker", 1, 3, **BY_IP) | LOCKED,
    "httpd worker provider 1.2": _httpd("worker", 2, 2, version="1.2", **PROVIDER),
    "httpd event engine daemon": _httpd("event", 1, 2) | LOCKED | DAEMON,
    "httpd event provider sni rsa": _httpd("event", 1, 2, vhosts=2, **PROVIDER) | RSA,
    "nginx engine 1.2 sni": {"topology": {"processes": 2}, "tls": {"server": "nginx", "version": "1.2", "vhosts": 2}},
    "nginx provider daemon ip rsa": {"topology": ONE, "tls": {"server": "nginx"} | PROVIDER | BY_IP} | DAEMON | RSA,
    "stunnel engine 1.2 rsa": {"tls": {"server": "stunnel", "version": "1.2"}} | RSA,
    "stunnel engine daemon": {"tls": {"server": "stunnel"}} | DAEMON,
    "stunnel provider": {"tls": {"server": "stunnel"} | PROVIDER},
    "p11kit-proxy": _httpd("prefork", 1) | {"token": {"kind": "p11kit-proxy"}},
    "p11kit-remote": {"topology": ONE, "tls": {"server": "nginx"}, "token": {"kind": "p11kit-remote"}},
}
DECRYPTED = {"httpd prefork provider static rsa": _httpd("prefork", 1, **PROVIDER, **STATIC) | RSA}
HAPPENING: Mapping[str, dict[str, Any]] = {
    "httpd churns": {
        "topology": {"kind": "prefork", "processes": 2, "connections_per_child": 4},
        "tls": {"server": "httpd"},
    },
    "httpd reloads": _httpd("prefork", 2) | {"server": {"reload_at_s": 0.2}},
    "nginx reloads": {"topology": ONE, "tls": {"server": "nginx"}, "server": {"reload_at_s": 0.2}},
    "httpd loses one": _httpd("prefork", 2) | {"server": {"kill_at_s": 0.2}},
    "nginx loses its only one": {"topology": ONE, "tls": {"server": "nginx"}, "server": {"kill_at_s": 0.2}},
}
ARMS = {**SIGNED, **DECRYPTED, **HAPPENING}


@pytest.fixture(scope="module")
def trials() -> Iterator[dict[str, Sealed]]:
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        Path(folder).chmod(PASSABLE)
        yield run(Path(folder), BASE, ARMS)


def of_servers(one: Sealed, *roles: str) -> list[dict[str, Any]]:
    return [process for process in one.trial["processes"] if process["role"] in (roles or ("master", "worker"))]


PROVIDERS_OWN = "CKR_KEY_HANDLE_INVALID"
"""Which no token answers in these runs: it is pkcs11-provider's own word."""


@pytest.mark.parametrize("name", ARMS)
def test_no_handshake_gets_lost_and_both_ends_of_each_are_found(name: str, trials: dict[str, Sealed]) -> None:
    one = trials[name]
    assert balanced(one.arm)
    assert one.arm["info"] == one.arm["shed"] == one.trial["lost_rows"] == 0
    assert one.arm["connections"]["join_share"] >= 0.999
    assert one.arm["connections"]["strangers"] == []
    if "loses" not in name:  # the one that is killed may be in the middle of a handshake
        # pkcs11-provider 1.0 may refuse a key while a thread, or on a busy machine another child, makes its new context
        own = "provider" in name
        lost = [f for f in one.arm["failures"] if not (own and (f["code"] == PROVIDERS_OWN or f["layer"] == "tls"))]
        assert lost == []
        assert one.arm["fail"] == 0 or own
        assert one.arm["verified"] == one.arm["ok"]


@pytest.mark.parametrize("name", [*SIGNED, *HAPPENING])
def test_each_signature_on_the_wire_is_a_call_of_the_process_that_the_log_names(
    name: str, trials: dict[str, Sealed]
) -> None:
    signed = trials[name].arm["connections"]["signed"]
    assert signed["found"] == signed["of"] == signed["same_process"] >= trials[name].arm["ok"] > 0


@pytest.mark.parametrize("name", [*SIGNED, *HAPPENING])
def test_process_and_thread_of_the_log_are_those_of_the_call(name: str, trials: dict[str, Sealed]) -> None:
    one = trials[name]
    # libp11 signs at once, pkcs11-provider with RSA in parts; a broker has calls of its own that answer the server's
    its = {process["index"] for process in of_servers(one)}
    calls = one.calls[one.calls.function.isin(["C_Sign", "C_SignFinal"]) & one.calls.process.isin(its)]
    clients = one.connections_of("client").merge(calls, on="tag", suffixes=("", "_call"))
    joined = one.connections_of("server").merge(clients, on="random", suffixes=("_server", ""))
    assert len(joined) >= one.arm["ok"] > 0
    assert (joined.process_server == joined.process_call).all()
    assert (joined.tid_server == joined.tid_call).all()


@pytest.mark.parametrize("name", DECRYPTED)
def test_static_rsa_decrypts_with_the_token_and_has_nothing_on_the_wire_to_be_found(
    name: str, trials: dict[str, Sealed]
) -> None:
    one = trials[name]
    decrypted = one.calls[(one.calls.function == "C_Decrypt") & (one.calls.ckr == "CKR_OK")]
    assert len(decrypted) >= one.arm["ok"] == one.arm["planned"]
    assert one.arm["connections"]["signed"]["of"] == 0
    assert set(decrypted.process) <= {process["index"] for process in of_servers(one, "worker")}


@pytest.mark.parametrize("name", ARMS)
def test_the_population_is_what_the_scenario_asks_for(name: str, trials: dict[str, Sealed]) -> None:
    one, topology = trials[name], ARMS[name].get("topology", {})
    masters, workers = of_servers(one, "master"), of_servers(one, "worker")
    assert len(masters) == (2 if "daemon" in name else 1)  # the one that was started, and its fork
    if name in HAPPENING:
        return
    assert len(workers) == (0 if "stunnel" in name else topology["processes"])
    assert all(worker["parent"] == masters[-1]["pid"] for worker in workers)
    assert {process["end"] for process in masters} == {"exit"}
    assert {process["end"] for process in workers} <= {"exit", "unknown"}
    for process in masters + workers:
        assert process["born_ns"] < process["gone_ns"]
    assert one.trial["server"]["ready_ns"] < one.trial["released_ns"]


def test_threads_serve_where_there_are_threads(trials: dict[str, Sealed]) -> None:
    threads = {
        name: tables["topology"]["threads"] for name, tables in ARMS.items() if "threads" in tables.get("topology", {})
    }
    served = {name: trials[name].connections_of("server").groupby("process").tid.nunique().max() for name in threads}
    assert all(served[name] <= threads[name] for name in threads)
    assert max(served.values()) > 1  # httpd gives a connection to whichever thread is idle


def test_vhosts_each_have_their_key_and_their_share(trials: dict[str, Sealed]) -> None:
    for name in (name for name, tables in ARMS.items() if tables["tls"].get("vhosts") == 2):
        for side in ("client", "server"):
            assert set(trials[name].connections_of(side).vhost) == {0, 1}, name


def test_httpd_replaces_a_child_after_its_share(trials: dict[str, Sealed]) -> None:
    one = trials["httpd churns"]
    served = one.connections_of("server").groupby("process").size()
    assert served.max() <= 4
    assert len(of_servers(one, "worker")) >= len(served) >= one.arm["ok"] / 4


@pytest.mark.parametrize("name", ["httpd reloads", "nginx reloads"])
def test_a_reload_has_its_instant_and_new_workers_of_the_same_master(name: str, trials: dict[str, Sealed]) -> None:
    one = trials[name]
    reloaded_ns = one.trial["server"]["reload_ns"]
    assert reloaded_ns - one.trial["released_ns"] - 200_000_000 >= 0
    (master,) = of_servers(one, "master")
    workers = of_servers(one, "worker")
    old = [worker for worker in workers if worker["born_ns"] < reloaded_ns]
    new = [worker for worker in workers if worker["born_ns"] >= reloaded_ns]
    assert len(old) == ARMS[name]["topology"]["processes"] <= len(old) + len(new) - 1
    assert {worker["parent"] for worker in workers} == {master["pid"]}
    assert master["end"] == "exit"


@pytest.mark.parametrize("name", ["httpd loses one", "nginx loses its only one"])
def test_who_is_killed_is_named_and_is_no_finding(name: str, trials: dict[str, Sealed]) -> None:
    one = trials[name]
    server = one.trial["server"]
    (victim,) = [process for process in of_servers(one, "worker") if process["index"] == server["killed"]]
    assert victim["end"] == "cut-off"
    assert victim["born_ns"] < server["kill_ns"] <= victim["gone_ns"]
    assert one.arm["processes"]["crashed"] == one.arm["processes"]["hung"] == 0
    after = one.connections_of("server")
    assert (after[after.opened_ns > victim["gone_ns"]].process != victim["index"]).all()
    if "nginx" in name:
        assert [worker["born_ns"] > server["kill_ns"] for worker in of_servers(one, "worker")] == [False, True]
