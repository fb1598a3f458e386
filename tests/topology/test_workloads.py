"""Every key, every mechanism that the token offers, every workload, open and closed, native and by python-pkcs11."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest

from lab.tokens.softhsm import SoftHsm
from tests.combined import LOAD_PHASES, OPERATION_KINDS, Sealed, Tables, run
from tests.runs import balanced
from tests.tokens.conftest import Settings

KEYS = ("ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096")
IN_PYTHON = ("ec-p384", "rsa-2048")
BASE = '[topology]\nkind = "prefork"\nprocesses = 1\n'
OPEN = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 60\nwarmup_s = 0\nduration_s = 0.1\n'
# a closed loop's phases are instants: one that gets no processor in all of a short one leaves it empty
CLOSED = '[load]\nmode = "closed"\nwarmup_s = 0.1\nduration_s = 0.4\n'


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sequence[str]]:
    """Signing mechanisms of SoftHSM for a family of keys."""
    token = SoftHsm(Settings())
    made = token.prepare(frozenset({"ec-p256", "rsa-2048"}), tmp_path_factory.mktemp("offered") / "token")
    token.retire()
    return {kind.partition("-")[0]: key.mechanisms for kind, key in made.keys.items()}


@pytest.fixture(scope="module")
def signed(offered: dict[str, Sequence[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    arms: dict[str, Tables] = {}
    for key, driver in product(KEYS, ("native", "python-pkcs11")):
        for mechanism in offered[key.partition("-")[0]]:
            if driver == "native" or key in IN_PYTHON:
                workload = {"kind": "sign", "key": key, "mechanism": mechanism, "driver": driver}
                arms[f"{driver} {key} {mechanism}"] = {"workload": workload}
    return run(tmp_path_factory.mktemp("mechanisms") / "run", BASE + OPEN, arms)


def test_softhsm_offers_what_the_lab_is_tested_with(offered: dict[str, Sequence[str]]) -> None:
    assert {"ECDSA"} <= set(offered["ec"])
    pairs = {f"SHA{bits}_RSA_PKCS{end}" for bits, end in product((256, 384, 512), ("", "_PSS"))}
    assert {"RSA_PKCS", "RSA_PKCS_PSS", *pairs} <= set(offered["rsa"])


def test_every_signature_of_every_key_and_mechanism_verifies(signed: dict[str, Sealed]) -> None:
    for name, one in signed.items():
        arm = one.arm
        assert (arm["verified"], arm["ok"], arm["planned"]) == (6, 6, 6), name
        rows = one.operations[one.operations.kind == "sign"]
        assert set(rows.verified) == {1}, name
        assert len(rows) == 7  # with the first one, before the load
    assert len(signed) >= 2 + 3 * 8 + 1 + 8


def test_default_mechanisms_are_among_those_that_were_tested(signed: dict[str, Sealed]) -> None:
    for key in KEYS:
        assert f"native {key} {'ECDSA' if key.startswith('ec') else 'RSA_PKCS'}" in signed


LOOPS: dict[str, Tables] = {
    f"{driver} {kind}": {"workload": {"kind": kind, **({"driver": driver} if kind != "null" else {})}}
    for driver, kind in [
        *product(("native", "python-pkcs11"), ("sign", "random", "session-churn")),
    ]
}
LOOPS["native null"] = {
    "topology": {"processes": 2},  # another shape than the rest, so no measure of their generator
    "workload": {"kind": "null"},
}


@pytest.fixture(scope="module", params=[OPEN, CLOSED], ids=["open", "closed"])
def loops(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sealed]:
    return run(tmp_path_factory.mktemp("loops") / "run", BASE + request.param, LOOPS)


@pytest.mark.parametrize("name", LOOPS)
def test_a_workload_does_all_that_it_begins(loops: dict[str, Sealed], name: str) -> None:
    one = loops[name]
    assert balanced(one.arm)
    rows = [one.operations_of(worker["index"], LOAD_PHASES) for worker in one.workers]
    assert one.arm["ok"] == one.arm["planned"] == sum(map(len, rows))
    kinds = set(one.operations_of(1).kind)
    assert kinds == {name.split()[1].replace("-", "_")} <= set(OPERATION_KINDS)
    if one.arm["load"]["mode"] == "closed":
        assert set(one.operations_of(1, LOAD_PHASES).phase) == set(LOAD_PHASES)
    assert one.calls.empty == (name == "native null")
