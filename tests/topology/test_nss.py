"""Whole runs on NSS, as it is installed: what a fork does to its random numbers, and who gives it its init string."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.combined import Sealed, run
from tests.runs import balanced

BASE = """
[token]
kind = "nss"
[load]
mode = "open"
arrivals = "paced"
rate_hz = 60
warmup_s = 0
duration_s = 0.4
"""
PASSABLE = 0o711  # as root httpd's workers are another user than the lab
TWO = {"kind": "prefork", "processes": 2}
HANDSHAKE = {"topology": TWO, "workload": {"kind": "handshake"}}


def _signing(policy: str, **more: Any) -> dict[str, Any]:
    return {"topology": TWO, "workload": {"kind": "sign"} | more, "context": {"policy": policy}}


SIGNED = {policy: _signing(policy) for policy in ("shared", "per-process", "reinit")}
SHARED: Mapping[str, dict[str, Any]] = {"shared": SIGNED["shared"], "random": _signing("shared", kind="random")}
# What knows nothing of an init string: python-pkcs11, libp11, pkcs11-provider.
LIBRARIES: Mapping[str, dict[str, Any]] = {
    "python": _signing("per-process", driver="python-pkcs11"),
    "engine": HANDSHAKE | {"tls": {"bridge": "engine"}},
    "provider": HANDSHAKE | {"tls": {"bridge": "provider"}},
    "httpd engine": HANDSHAKE | {"tls": {"bridge": "engine", "server": "httpd"}},
    "httpd provider": HANDSHAKE | {"tls": {"bridge": "provider", "server": "httpd"}},
}
DIRECT = {"direct": HANDSHAKE | {"tls": {"bridge": "direct"}}}
ARMS = {**SIGNED, **SHARED, **LIBRARIES, **DIRECT}


@pytest.fixture(scope="module")
def trials() -> Iterator[dict[str, Sealed]]:
    with tempfile.TemporaryDirectory(prefix="lab-test's-") as folder:  # a quote, for the init string
        Path(folder).chmod(PASSABLE)
        yield run(Path(folder), BASE, ARMS)


def rule(one: Sealed, name: str) -> dict[str, Any]:
    found: dict[str, Any] = one.arm["rules"][name]
    return found


def repeated(one: Sealed, function: str) -> set[int]:
    """Tags of outputs that two processes gave; a call that only asked for a length has none."""
    calls = one.calls[(one.calls.function == function) & (one.calls.tag != 0)]
    processes = calls.groupby("tag").process.nunique()
    return set(processes[processes > 1].index)


@pytest.mark.parametrize("name", ARMS)
def test_every_operation_works_and_is_verified(name: str, trials: dict[str, Sealed]) -> None:
    one = trials[name]

    assert balanced(one.arm)
    assert one.arm["ok"] == one.arm["planned"] > 0
    assert one.arm["failures"] == []
    if name != "random":
        assert one.arm["verified"] == one.arm["ok"]


@pytest.mark.parametrize(("name", "function"), [("shared", "C_Sign"), ("random", "C_GenerateRandom")])
def test_children_of_one_context_repeat_each_others_randomness(
    name: str, function: str, trials: dict[str, Sealed]
) -> None:
    one = trials[name]

    verdict = rule(one, "unique-randomness")
    assert verdict["verdict"] == "violates"
    assert f"{function}" in verdict["evidence"]
    assert "process 1" in verdict["evidence"]
    assert len(repeated(one, function)) > 1
    assert rule(one, "initialize-per-process")["verdict"] == "violates"


@pytest.mark.parametrize("name", ["per-process", "reinit", "python", "direct"])
def test_a_context_of_ones_own_has_a_nonce_of_its_own(name: str, trials: dict[str, Sealed]) -> None:
    one = trials[name]

    assert rule(one, "unique-randomness")["verdict"] == "conforms"
    assert rule(one, "initialize-per-process")["verdict"] == "conforms"
    assert repeated(one, "C_Sign") == set()


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_without_an_init_string_is_given_one(name: str, trials: dict[str, Sealed]) -> None:
    answers = trials[name].calls
    answers = answers[answers.function == "C_Initialize"]

    assert len(answers) > 0
    assert set(answers.ckr) <= {"CKR_OK", "CKR_CRYPTOKI_ALREADY_INITIALIZED"}
    assert (answers.ckr == "CKR_OK").any()


def test_httpd_with_libp11_shares_the_context_and_so_the_nonces(trials: dict[str, Sealed]) -> None:
    """libp11 initialises anew in a child, hears CKR_CRYPTOKI_ALREADY_INITIALIZED, and takes it for well."""
    engine, provider = trials["httpd engine"], trials["httpd provider"]

    assert engine.arm["context"] == "inherited"
    assert rule(engine, "login-per-process")["verdict"] == "violates"
    assert provider.arm["context"] == "re-initialised lazily"
    assert rule(provider, "unique-randomness")["verdict"] == "conforms"
