"""What handshakes show of the rules: nonces, threads, locking, inherited contexts, crashes, each by its name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab.tokens.model import TokenAccess
from tests.combined import Sealed, Tables, run, sealed
from tests.native.build import TESTS, compile_c
from tests.runs import Place, balanced
from tests.topology.conftest import PIN_VARIABLE, Mischief

OPEN = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 200\nwarmup_s = 0\nduration_s = 0.2\n'
PLANNED = 40
BASE = f'[workload]\nkind = "handshake"\n{OPEN}'
WORKER = {"kind": "worker", "processes": 2, "threads": 4}
SHARED = {"policy": "shared"}
CROWD = {"mode": "closed", "clients": 12, "warmup_s": 0, "duration_s": 1.5}
ARMS: dict[str, Tables] = {
    "own": {"topology": WORKER, "context": {"policy": "per-process"}},
    "inherited": {"topology": WORKER, "token": {"reset_on_fork": False}, "context": SHARED},
    "strict": {"topology": WORKER, "token": {"reset_on_fork": True}, "context": SHARED},
    "strict own sessions": {
        "topology": WORKER,
        "token": {"reset_on_fork": True},
        "context": {"policy": "shared", "inherit": "context"},
    },
}


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("rules"), BASE, ARMS)


def _verdicts(arm: Mapping[str, Any]) -> dict[str, str]:
    return {rule: found["verdict"] for rule, found in arm["rules"].items()}


def _failures(arm: Mapping[str, Any]) -> dict[tuple[str | None, str, str], int]:
    return {(f["side"], f["layer"], f["code"]): f["count"] for f in arm["failures"]}


# nonces


def test_softhsm_repeats_no_nonce_in_the_handshakes_of_any_process(arms: dict[str, Sealed]) -> None:
    for name in ("own", "inherited"):
        assert arms[name].arm["ok"] == PLANNED
        assert _verdicts(arms[name].arm)["unique-randomness"] == "conforms"
        told = arms[name].arm["nonces"]
        assert (told["signatures"], told["repeated"], told["proven"], told["of"]) == (PLANNED, 0, False, 2)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_nonce_that_repeats_is_found_although_every_handshake_ends_well(
    version: str, place: Place, access: TokenAccess, tmp_path: Path
) -> None:
    module = compile_c(tmp_path / "nonce.so", TESTS / "repeat_nonce.c", libraries=("crypto",))
    pem = tmp_path / "key.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(key.private_bytes(*form))
    words = ["--import", pem, "--token", access.token_label, "--label", "known", "--id", "99"]
    subprocess.run(
        ["softhsm2-util", *words, "--pin", access.pin.reveal()],
        env={"PATH": "/usr/bin", **access.environment},
        check=True,
        capture_output=True,
    )
    variables = {**access.environment, "NONCE_MODULE": str(access.module), "NONCE_KEY": str(pem)}
    inline = ", ".join(f"{name} = {json.dumps(value)}" for name, value in variables.items())
    path = place.folder / "nonce.toml"
    path.write_text(
        f'blocks = 1\n[token]\nkind = "module"\npath = "{module}"\ntoken_label = "{access.token_label}"\n'
        f'pin_env = "{PIN_VARIABLE}"\nkey_label = "known"\nenvironment = {{ {inline} }}\n'
        f'[topology]\nprocesses = 2\n[context]\npolicy = "per-process"\n[tls]\nversion = "{version}"\n{BASE}'
    )
    done = place.run(path, "--quiet", environment={PIN_VARIABLE: access.pin.reveal()})
    assert done.returncode == 0, done.stderr
    (arm,) = place.summary()["arms"].values()
    assert (arm["ok"], arm["verified"], arm["failures"]) == (PLANNED, PLANNED, [])
    found = arm["rules"]["unique-randomness"]
    assert (found["verdict"], found["count"], found["processes"]) == ("violates", PLANNED, 2)
    assert "the private key of this arm was computed from two handshakes that anybody can make" in found["evidence"]
    told = arm["nonces"]
    assert (told["signatures"], told["repeated"], told["proven"]) == (PLANNED, PLANNED, True)
    assert (told["processes"], told["of"]) == (2, 2)
    others = {rule for rule, verdict in _verdicts(arm).items() if verdict == "violates"}
    assert others == {"unique-randomness"}


# contexts that are inherited


def test_inherited_sessions_are_used_by_one_thread_of_each_process_but_are_not_its_own(arms: dict[str, Sealed]) -> None:
    """One number in two processes is not one session, so this is a matter of own-handles alone."""
    rules = _verdicts(arms["inherited"].arm)
    assert arms["inherited"].arm["failures"] == []
    assert rules["one-thread-per-session"] == "conforms"
    assert rules["own-handles"] == rules["initialize-per-process"] == "violates"
    assert "violates" not in _verdicts(arms["own"].arm).values()


def test_a_token_that_notices_the_fork_says_so_to_the_server_and_the_client_gets_an_alert(
    arms: dict[str, Sealed],
) -> None:
    arm = arms["strict"].arm
    assert balanced(arm)
    assert (arm["ok"], arm["fail"]) == (0, PLANNED)
    assert _failures(arm) == {
        ("server", "pkcs11", "CKR_CRYPTOKI_NOT_INITIALIZED"): PLANNED,
        ("client", "tls", "alert internal_error received"): PLANNED,
    }
    (seen,) = [failure for failure in arm["failures"] if failure["side"] == "server"]
    assert seen["functions"] == {"C_SignInit": PLANNED}
    assert _verdicts(arm)["initialize-per-process"] == "violates"
    assert "C_SignInit, which answered CKR_CRYPTOKI_NOT_INITIALIZED" in arm["rules"]["own-handles"]["evidence"]


def test_a_server_that_cannot_open_a_session_takes_no_clients(arms: dict[str, Sealed]) -> None:
    arm = arms["strict own sessions"].arm
    assert balanced(arm)
    assert _failures(arm) == {
        (None, "pkcs11", "CKR_CRYPTOKI_NOT_INITIALIZED"): WORKER["processes"],
        ("client", "network", "refused (ECONNREFUSED)"): PLANNED,
    }
    assert {worker["detail"] for worker in arms["strict own sessions"].workers} == {
        "C_OpenSession CKR_CRYPTOKI_NOT_INITIALIZED"
    }


# threads without locks


def test_threads_that_were_not_declared_are_a_violation_and_what_becomes_of_them_has_a_name(tmp_path: Path) -> None:
    """SoftHSM without mutexes: most such processes crash within a second, but this is not for a test to count on."""
    arms: dict[str, Tables] = {
        "none": {
            "topology": WORKER,
            "context": {"policy": "per-process", "locking": "none"},
            "tls": {"timeout_s": 1},
            "load": CROWD,
        },
    }
    (one,) = run(tmp_path / "none", '[workload]\nkind = "handshake"\n', arms).values()
    arm = one.arm
    assert balanced(arm)
    assert arm["ok"] > 0
    rules = _verdicts(arm)
    assert rules["locking-declared"] == "violates"
    assert "although C_Initialize was given NULL" in arm["rules"]["locking-declared"]["evidence"]
    crashed = [worker for worker in one.workers if worker["end"] == "signal"]
    assert arm["processes"]["crashed"] == len(crashed)
    assert (rules["no-crash"] == "violates") == bool(crashed)
    signals = sum(count for (_, layer, _), count in _failures(arm).items() if layer == "signal")
    assert signals == len(crashed)


@pytest.mark.parametrize(("kind", "threads"), [("prefork", 1), ("worker", 3), ("event", 1)])
def test_a_server_that_crashes_in_a_signature_is_named_and_the_run_is_valid(
    kind: str, threads: int, place: Place, mischief: Mischief
) -> None:
    tables = f'[topology]\nkind = "{kind}"\nprocesses = 3\nthreads = {threads}\n[context]\npolicy = "reinit"\n{BASE}'
    path = mischief.scenario("sigsegv@C_Sign#4", tables)
    done = place.run(path, "--quiet", environment=mischief.environment)
    assert done.returncode == 0, done.stderr
    assert mischief.happened
    (one,) = sealed(place).values()
    arm = one.arm
    assert balanced(arm)
    assert arm["ok"] > PLANNED / 2
    assert arm["connections"]["joined"] == arm["ok"]
    servers = one.connections_of("server")
    cut_off = servers[servers.ended_ns == 0]
    assert (cut_off.random != 0).any()  # known before the answer, so that the client's row finds it
    failures = _failures(arm)
    assert failures[None, "signal", "SIGSEGV"] == 1
    assert {code for side, _, code in failures if side == "client"} <= {"closed in mid-handshake", "reset (ECONNRESET)"}
    assert _verdicts(arm)["no-crash"] == "violates"
    assert "C_Sign" in arm["rules"]["no-crash"]["evidence"]
    assert place.leftovers() == []
