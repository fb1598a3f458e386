"""The context policy `broker`, whole runs: every workload and bridge, what is counted, and ways to die."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab import program
from tests.combined import Sealed, Tables, run, sealed
from tests.runs import Place, balanced, open_folder, until
from tests.topology.conftest import Mischief
from tests.topology.test_ways_to_die import claimed, root_of

BASE = """
[topology]
processes = 2
start = "herd"
[context]
policy = "broker"
[load]
mode = "closed"
warmup_s = 0
duration_s = 0.1
"""
OPEN = {"mode": "open", "arrivals": "paced", "rate_hz": 230, "duration_s": 0.1}
ARMS: dict[str, Tables] = {
    "23 signatures": {"topology": {"processes": 1}, "load": OPEN},
    "threads": {"topology": {"kind": "threads", "processes": 1, "threads": 3}},
    "pool": {"topology": {"kind": "worker", "threads": 2}, "context": {"session": "pool"}},
    "spawn": {"topology": {"kind": "spawn"}, "context": {"session": "per-operation"}},
    "python-pkcs11": {"workload": {"driver": "python-pkcs11", "key": "rsa-2048"}},
    "random": {"workload": {"kind": "random"}},
    "session-churn": {"workload": {"kind": "session-churn"}},
    "direct": {"workload": {"kind": "handshake"}},
    "engine": {"workload": {"kind": "handshake"}, "tls": {"bridge": "engine"}},
    "provider": {"workload": {"kind": "handshake"}, "tls": {"bridge": "provider"}},
    "nss": {"token": {"kind": "nss"}},
    "broker of p11kit-proxy": {"token": {"kind": "p11kit-proxy"}},
    "p11kit-proxy over nss": {
        "context": {"policy": "per-process"},
        "token": {"kind": "p11kit-proxy", "over": "nss"},
    },
    "p11kit-remote over nss": {
        "context": {"policy": "per-process"},
        "token": {"kind": "p11kit-remote", "over": "nss"},
    },
    "p11kit-proxy": {"context": {"policy": "per-process"}, "token": {"kind": "p11kit-proxy"}},
    "per-process": {"context": {"policy": "per-process"}},
    "p11kit-remote": {"context": {"policy": "per-process"}, "token": {"kind": "p11kit-remote"}},
    "random by p11kit-remote": {
        "context": {"policy": "per-process"},
        "token": {"kind": "p11kit-remote"},
        "workload": {"kind": "random"},
    },
}
BROKERS = [name for name, tables in ARMS.items() if "context" not in tables or "policy" not in tables["context"]]


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    with open_folder() as elsewhere:  # pytest's own is too deep for the path of a socket
        return run(tmp_path_factory.mktemp("brokers") / "run", BASE, ARMS, elsewhere=elsewhere)


@pytest.mark.parametrize("name", ARMS)
def test_every_operation_ends_well_and_every_signature_is_right(name: str, arms: dict[str, Sealed]) -> None:
    arm = arms[name].arm
    assert balanced(arm)
    assert arm["ok"] == arm["planned"]
    if arm["workload"]["kind"] in ("sign", "handshake"):
        assert arm["verified"] == arm["ok"]


@pytest.mark.parametrize("name", BROKERS)
def test_the_owner_is_one_process_with_one_context_and_one_login(name: str, arms: dict[str, Sealed]) -> None:
    at_token = arms[name].arm["at_token"]
    assert [at_token[key] for key in ("owner", "processes", "contexts")] == ["broker", 1, 1]
    assert at_token["logins"] in ((1, 2) if name == "nss" else (1,))  # NSS may grant two that ask at the same time
    assert at_token["owner_pss_mib_p50"] > 0
    assert at_token["all_pss_mib_p50"] > at_token["owner_pss_mib_p50"]
    (owner,) = arms[name].trial["owners"]
    assert (owner["program"], owner["end"], owner["status"]) == ("broker", "exit", 0)


def test_p11_kit_s_server_has_a_context_and_a_login_for_each_client(arms: dict[str, Sealed]) -> None:
    at_token = arms["p11kit-remote"].arm["at_token"]
    assert (at_token["owner"], at_token["processes"], at_token["logins"]) == ("p11-kit", 2, 2)
    assert at_token["contexts"] >= 2
    assert at_token["owner_pss_mib_p50"] > 0


def test_without_an_owner_the_workers_are_those_who_have_the_token(arms: dict[str, Sealed]) -> None:
    at_token = arms["per-process"].arm["at_token"]
    assert {key: at_token[key] for key in ("owner", "processes", "contexts", "logins", "owner_pss_mib_p50")} == {
        "owner": None,
        "processes": 2,
        "contexts": 2,
        "logins": 2,
        "owner_pss_mib_p50": None,
    }
    assert at_token["owner_ms"] == {}


def test_each_operation_is_one_call_of_the_client_and_one_of_the_owner(arms: dict[str, Sealed]) -> None:
    one = arms["23 signatures"]
    assert one.arm["ok"] == 23
    (owner,) = (process["index"] for process in one.trial["processes"] if process["role"] == "other")
    signed = [len(one.calls_of(process, "C_Sign")) for process in (1, owner)]
    assert signed == [24, 24]  # with the first one, before the load
    assert one.arm["pkcs11_ms"]["C_Sign"]["count"] == one.arm["at_token"]["owner_ms"]["C_Sign"]["count"] == 24
    assert one.arm["sessions"]["opened"] == 1


@pytest.mark.parametrize("name", ARMS)
def test_no_rule_is_broken_by_the_design_of_an_owner(name: str, arms: dict[str, Sealed]) -> None:
    rules = arms[name].arm["rules"]
    assert [rule for rule, found in rules.items() if found["verdict"] == "violates"] == []
    undefined = [rule for rule, found in rules.items() if found["verdict"] == "undefined"]
    assert undefined in ([], ["login-per-process"])
    assert not any(found["count"] for found in arms[name].arm["diagnosis"].values())


def test_that_a_client_was_logged_in_already_is_told_and_no_verdict(arms: dict[str, Sealed]) -> None:
    found = arms["session-churn"].arm["rules"]["login-per-process"]
    assert found["verdict"] == "undefined"
    assert "the token's owner is one application to the module, whose login all its clients share" in found["evidence"]
    assert "CKR_USER_ALREADY_LOGGED_IN" in found["evidence"]


# Ways to die

LOAD = """
blocks = 1
[topology]
processes = 3
[context]
policy = "broker"
[load]
mode = "open"
rate_hz = 300
warmup_s = 0
duration_s = {duration_s}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with open_folder() as elsewhere:
        yield Place(tmp_path, elsewhere)


@pytest.fixture
def begun(place: Place) -> Callable[[float], subprocess.Popen[str]]:
    """A run whose three workers are all in their load."""

    def start(duration_s: float) -> subprocess.Popen[str]:
        path = place.folder / "scenario.toml"
        path.write_text(LOAD.format(duration_s=duration_s))
        running = place.start(path, "--quiet", "--set", "timeout_s=25")

        def in_their_load() -> bool:
            assert running.poll() is None
            rows = list(place.out.glob("trials/0001-*/operations-[123].rows"))
            return len(rows) == 3 and all(claimed(file) > 12 for file in rows)

        until(in_their_load)
        return running

    return start


def the_broker(place: Place) -> psutil.Process:
    (found,) = (process for process in place.processes() if process.name() == "broker")
    return found


def test_a_broker_that_is_killed_fails_what_follows_and_the_run_ends(
    place: Place, begun: Callable[[float], subprocess.Popen[str]]
) -> None:
    running = begun(2)
    the_broker(place).kill()
    _, err = running.communicate()
    assert running.returncode == 0, err
    (one,) = sealed(place).values()
    assert balanced(one.arm)
    assert one.arm["ok"] > 0
    assert one.arm["fail"] > 0
    named = {(each["layer"], each["code"]): each["processes"] for each in one.arm["failures"]}
    assert named["pkcs11", "CKR_DEVICE_ERROR"] == 3
    assert named["signal", "SIGKILL"] == 1
    (owner,) = (process for process in one.trial["processes"] if process["role"] == "other")
    assert (owner["program"], owner["end"], owner["status"]) == ("broker", "signal", signal.SIGKILL)
    assert one.arm["rules"]["no-crash"]["verdict"] == "violates"
    assert one.arm["processes"]["hung"] == 0
    assert place.leftovers() == []


def test_sessions_of_a_worker_that_is_killed_are_closed_by_the_owner_and_the_others_go_on(
    place: Place, begun: Callable[[float], subprocess.Popen[str]]
) -> None:
    running = begun(1)
    worker = root_of(place).children()[-1]
    worker.kill()
    _, err = running.communicate()
    assert running.returncode == 0, err
    (one,) = sealed(place).values()
    assert balanced(one.arm)
    processes = one.trial["processes"]
    (owner,) = (process for process in processes if process["role"] == "other")
    assert [p["end"] for p in processes if p["role"] == "worker"].count("signal") == 1
    opened, closed = (len(one.calls_of(owner["index"], f"C_{word}Session")) for word in ("Open", "Close"))
    assert opened == closed == 3
    assert one.arm["sessions"]["leaked"] == 1  # by the one that was killed
    assert [each["code"] for each in one.arm["failures"]] == ["SIGKILL"]
    assert one.arm["shed"] + one.arm["info"] > 0
    assert one.arm["fail"] == 0
    assert place.leftovers() == []


@pytest.mark.parametrize("whom", ["coordinator", "root"])
def test_whoever_is_killed_above_it_no_broker_and_no_socket_is_left(
    whom: str, place: Place, begun: Callable[[float], subprocess.Popen[str]]
) -> None:
    running = begun(20)
    broker = the_broker(place)
    running.kill() if whom == "coordinator" else root_of(place).kill()
    running.communicate()
    psutil.wait_procs([broker], timeout=10)
    assert not broker.is_running()
    assert place.leftovers() == []
    if whom == "coordinator":
        subprocess.run(
            program.command("lab", "report", "--no-page", str(place.out)), env=program.environment(), check=False
        )
    (arm,) = place.summary()["arms"].values()
    assert balanced(arm)
    assert arm["ok"] > 0


def test_an_interrupted_run_ends_its_broker_and_keeps_what_was_measured(
    place: Place, begun: Callable[[float], subprocess.Popen[str]]
) -> None:
    running = begun(20)
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 130
    (arm,) = place.summary()["arms"].values()
    assert balanced(arm)
    assert arm["ok"] > 0
    assert place.leftovers() == []


# What the module does to its owner

SIGNING = """
[topology]
processes = 2
[context]
policy = "broker"
[load]
mode = "open"
rate_hz = 300
warmup_s = 0
duration_s = 0.5
"""


@pytest.mark.parametrize(
    ("word", "end", "status", "code"),
    [
        ("sigsegv@C_Sign#9", "signal", signal.SIGSEGV, "SIGSEGV"),
        ("hang@C_Sign#9", "hang", 0, "hung in C_Sign"),
    ],
)
def test_an_owner_that_its_module_ends_is_named_and_its_clients_are_accounted_for(
    word: str, end: str, status: int, code: str, place: Place, mischief: Mischief
) -> None:
    path = mischief.scenario(word, SIGNING, who="any")
    done = place.run(path, "--quiet", "--set", "timeout_s=4", environment=mischief.environment)
    assert done.returncode == 0, done.stderr
    (one,) = sealed(place).values()
    assert balanced(one.arm)
    assert one.arm["ok"] > 0
    (owner,) = (process for process in one.trial["processes"] if process["role"] == "other")
    assert (owner["end"], owner["status"], owner["last_call"]) == (end, status, "C_Sign")
    assert code in [each["code"] for each in one.arm["failures"]]
    assert one.arm["rules"]["no-crash" if end == "signal" else "no-hang"]["verdict"] == "violates"
    assert mischief.access.pin.reveal() not in "".join(each.read_text() for each in place.out.rglob("*.json"))
    assert place.leftovers() == []
