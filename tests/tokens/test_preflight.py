from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.tokens import throwaway
from lab.tokens.preflight import check
from lab.tokens.softhsm import OVERRIDE
from tests.tokens.conftest import Arm, Settings, Workload


def test_a_scenario_that_can_run_passes(foreign: Settings) -> None:
    check([Arm(Settings()), Arm(foreign), Arm(None, Workload("null", None, None))], "x.toml")


def test_the_null_workload_needs_no_token_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRIDE, "/nowhere/libsofthsm2.so")

    check([Arm(None, Workload("null", None, None)), Arm(Settings(), Workload("null", None, None))], "x.toml")
    with pytest.raises(ScenarioError, match="not installed"):
        check([Arm(Settings())], "x.toml")


def test_the_message_names_file_arm_and_key() -> None:
    arms = [Arm(Settings(), name="good"), Arm(Settings(kind="module"), name="bad")]

    with pytest.raises(ScenarioError, match=r'^x\.toml: arm "bad": token\.path: needed'):
        check(arms, "x.toml")


def test_a_mechanism_of_the_other_key_type_is_refused_without_asking_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRIDE, "/nowhere/libsofthsm2.so")

    with pytest.raises(ScenarioError, match=r"workload\.mechanism: RSA_PKCS does not sign with a key of kind ec-p256"):
        check([Arm(Settings(), Workload(mechanism="RSA_PKCS"))], "x.toml")


def test_arms_on_one_token_cost_it_one_login(foreign: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = throwaway.ask
    monkeypatch.setattr(
        "lab.tokens.module.ask", lambda request, *a, **k: (asked.append(request.task), original(request, *a, **k))[1]
    )

    check([Arm(foreign), Arm(replace(foreign), Workload("random", None, None)), Arm(foreign)], "x.toml")

    assert asked == ["inspect"]


def test_a_check_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    check([Arm(Settings())], "x.toml")
    with pytest.raises(ScenarioError):
        check([Arm(Settings(), Workload(mechanism="ECDSA_SHA1"))], "x.toml")

    assert list(tmp_path.iterdir()) == []
