"""Which keys of two runs may differ."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lab.analysis.comparable import Difference, manifests, scenarios
from tests.sealed_run import SCENARIO


def changed(path: str, value: Any) -> dict[str, Any]:
    """The scenario with one key changed; `arm.` is its only arm."""
    scenario = copy.deepcopy(SCENARIO)
    table: Any = scenario
    *above, last = path.split(".")
    for name in above:
        table = table["arms"][0] if name == "arm" else table.setdefault(name, {})
    table[last] = value
    return scenario


FORBIDDEN = {
    "seed": 8,
    "margin.service_ms.p50": 0.1,
    "arm.load.rate_hz": 200.0,
    "arm.load.mode": "closed",
    "arm.workload.key": "ec-p384",
    "arm.workload.mechanism": "ECDSA_SHA256",
    "arm.topology.processes": 4,
    "arm.context.policy": "reinit",
    "arm.context.locking": "none",
    "arm.token.reset_on_fork": True,
}
ALLOWED = {
    "arm.token.kind": "nss",
    "arm.token.path": "/opt/newer/libsofthsm2.so",
    "arm.tls.bridge_library": "/opt/newer/pkcs11.so",
    "blocks": 12,
    "question": "Does it?",
}


@pytest.mark.parametrize("path", FORBIDDEN)
def test_what_was_asked_must_be_the_same(path: str) -> None:
    found = scenarios(SCENARIO, changed(path, FORBIDDEN[path]))
    (difference,) = found.forbidden
    assert difference.key == path.replace("arm.", "arms.a.")
    assert found.allowed == ()


@pytest.mark.parametrize("path", ALLOWED)
def test_where_it_was_asked_may_differ_and_is_told(path: str) -> None:
    found = scenarios(SCENARIO, changed(path, ALLOWED[path]))
    (difference,) = found.allowed
    assert (difference.key, difference.second) == (path.replace("arm.", "arms.a."), ALLOWED[path])
    assert found.forbidden == ()


def test_a_key_that_an_earlier_version_did_not_have_is_no_difference_while_it_is_off() -> None:
    assert scenarios(SCENARIO, changed("arm.token.over", None)).allowed == ()
    assert scenarios(SCENARIO, changed("arm.token.reset_on_fork", False)).forbidden == ()


def test_arms_of_one_run_only_are_named() -> None:
    other = copy.deepcopy(SCENARIO)
    other["arms"].append({**other["arms"][0], "name": "b"})
    found = scenarios(SCENARIO, other)
    assert (found.arms, found.only_first, found.only_second) == (("a",), (), ("b",))


def test_machines_versions_and_modules_are_told_and_the_load_is_not() -> None:
    first = {"machine": {"cpu": "x"}, "versions": {"python": "3.11"}, "tokens": [{"module_sha256": "1"}], "before": 1}
    second = {"machine": {"cpu": "y"}, "versions": {"python": "3.11"}, "tokens": [{"module_sha256": "2"}], "before": 2}
    assert manifests(first, second) == (
        Difference("machine.cpu", "x", "y"),
        Difference("tokens.0.module_sha256", "1", "2"),
    )


def test_a_difference_names_its_key_and_both_values() -> None:
    assert str(Difference("arms.a.load.rate_hz", 100.0, None)) == "arms.a.load.rate_hz (100.0 and nothing)"
