"""Each scenario that ships runs, shows what it is for, and its report can be rebuilt where there is no token."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from lab import program
from tests.runs import Place, balanced, open_folder

SCENARIOS = Path(__file__).parent.parent / "scenarios"
NAMES = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
BY_LUCK = {"arms.herd.fail"}
"""Expectations that need more than one block to be met for certain."""
ASKS_LESS = {
    "bridges": ("--set", "load.rate_hz=120"),
    "churn": ("--set", "load.rate_hz=150", "--set", "tls.timeout_s=10"),
}
"""A busy machine cannot serve the whole load, and clients give up; that the outcome is the same is what is tested."""


@dataclass(frozen=True)
class Shipped:
    name: str
    place: Place
    done: subprocess.CompletedProcess[str]

    @cached_property
    def expected(self) -> dict[str, Any]:
        found: dict[str, Any] = tomllib.loads((SCENARIOS / f"{self.name}.toml").read_text())["expect"]
        return found


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    with open_folder() as elsewhere:
        place = Place(tmp_path_factory.mktemp(request.param), elsewhere)
        done = place.run(SCENARIOS / f"{request.param}.toml", "--set", "blocks=1", *ASKS_LESS.get(request.param, ()))
        assert place.leftovers() == []
        yield Shipped(request.param, place, done)


def test_there_is_a_scenario_for_each_question() -> None:
    assert NAMES == [
        "bridges",
        "broker-handshakes",
        "broker-vs-per-process",
        "bug-42688",
        "churn",
        "cost-of-a-context",
        "event-stall",
        "fork-while-busy",
        "handshake-shared-vs-per-process",
        "inherited-and-unnoticed",
        "login-herd",
        "nonce-reuse",
        "nonce-reuse-in-servers",
        "prefork-worker-event",
        "python-pkcs11-in-threads",
        "shared-vs-per-process",
        "stacks",
        "static-rsa",
        "threads-without-locking",
        "tokens-under-fork",
        "tpm-poisoned",
        "vhosts",
    ]


def test_a_shipped_scenario_shows_what_it_expects(shipped: Shipped) -> None:
    missed = [line for line in shipped.done.stdout.splitlines() if line.startswith("not as expected: ")]
    by_rule = [line for line in missed if not any(path in line for path in BY_LUCK)]
    assert by_rule == []
    assert shipped.done.returncode == (3 if missed else 0), shipped.done.stderr
    assert set(shipped.expected) - BY_LUCK


def never_began(arm: dict[str, Any]) -> bool:
    """A closed loop plans what its workers begin: nothing, where all of them hung in their set-up."""
    parts = ("planned", "ok", "fail", "info", "shed")
    hung = arm["processes"]["hung"] == arm["processes"]["started"] > 0
    return arm["load"]["mode"] == "closed" and hung and not any(arm[part] for part in parts)


def test_a_shipped_scenario_accounts_for_every_operation_of_every_arm(shipped: Shipped) -> None:
    summary = shipped.place.summary()
    assert summary["valid"], summary["invalid_because"]
    assert all(balanced(arm) or never_began(arm) for arm in summary["arms"].values())
    assert all(arm["wrong"] == 0 for arm in summary["arms"].values())
    assert not summary["partial"]


def test_a_shipped_scenario_is_reported_the_same_from_a_copy_on_a_machine_without_a_token(
    shipped: Shipped, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / shipped.place.out.name  # the summary holds the folder's own name
    shutil.copytree(shipped.place.out, copy)
    before = (copy / "summary.json").read_bytes()
    (copy / "summary.json").unlink()
    environment = {**program.environment(), "LAB_SOFTHSM": "/nowhere/libsofthsm2.so", "TMPDIR": os.fspath(tmp_path)}
    done = subprocess.run(
        program.command("lab", "report", "--no-page", str(copy)),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (copy / "summary.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere"}


def test_a_shipped_scenario_s_folder_is_whole_and_holds_no_rows_any_more(shipped: Shipped) -> None:
    out = shipped.place.out
    whole = {"scenario.json", "plan.json", "manifest.json", "summary.json", "keys", "trials"}
    assert whole <= {path.name for path in out.iterdir()}
    planned = json.loads((out / "plan.json").read_text())["trials"]
    trials = sorted((out / "trials").iterdir())
    assert len(trials) == len(planned)
    for trial in trials:
        assert {"operations.parquet", "calls.parquet", "trial.json"} <= {path.name for path in trial.iterdir()}
        assert not list(trial.glob("*.rows")) + list(trial.glob("*.partial"))
