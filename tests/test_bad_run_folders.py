"""Run folders that are not whole: what is missing is said in one line, and what is there is used, and marked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lab
from lab.commands.report import rebuild, report
from lab.errors import LabFault, ScenarioError
from lab.report.comparing import compared
from tests import small_reference as small
from tests.small_reference import DAMAGED, write_reference

TRIAL = Path(DAMAGED)
OPERATIONS, CALLS, RECORD = TRIAL / "operations.parquet", TRIAL / "calls.parquet", TRIAL / "trial.json"

Damage = Callable[[Path], object]


def older(damage: Damage) -> Damage:
    """The same, to a folder of a version that kept no hashes."""
    return lambda run: (small.without_hashes(run), damage(run))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "rows cut off": (lambda run: small.cut(run / OPERATIONS, 0.7), f"{OPERATIONS}: is not what was sealed"),
    "rows left out": (lambda run: small.drop_rows(run / CALLS, 9), f"{CALLS}: is not what was sealed"),
    "an edited column": (
        lambda run: small.edit_column(run / OPERATIONS, "ended_ns", lambda ns: ns + 1000),
        f"{OPERATIONS}: is not what was sealed",
    ),
    "calls missing": (lambda run: (run / CALLS).unlink(), f"{CALLS}: is missing"),
    "operations empty": (lambda run: (run / OPERATIONS).write_bytes(b""), f"{OPERATIONS}: is not what was sealed"),
    "record missing": (lambda run: (run / RECORD).unlink(), f"{RECORD}: is missing"),
    "record cut off": (lambda run: small.cut(run / RECORD, 0.5), f"{RECORD}: is not JSON"),
    "record of something else": (lambda run: (run / RECORD).write_text("[]"), f"{RECORD}: is not a JSON object"),
    "record without a key": (
        lambda run: small.edit_json(run / RECORD, lambda record: record.pop("released_ns")),
        f"{RECORD}: is no record of a trial",
    ),
    "record of a newer version": (
        lambda run: small.edit_json(run / RECORD, lambda record: record.update(colour="red")),
        f"{RECORD}: has 'colour', which this version of the lab does not know",
    ),
    "older, rows cut off": (
        older(lambda run: small.cut(run / OPERATIONS, 0.7)),
        f"{OPERATIONS}: is not a readable Parquet file",
    ),
    "older, rubbish in the rows": (
        older(lambda run: small.overwrite(run / CALLS)),
        f"{CALLS}: is damaged, its rows cannot be decoded",
    ),
    "older, a column missing": (
        older(lambda run: small.rename_column(run / OPERATIONS, "outcome")),
        f"{OPERATIONS}: has no column outcome",
    ),
    "older, text in a column": (
        older(lambda run: small.edit_column(run / OPERATIONS, "ended_ns", lambda ns: ns.astype(str))),
        f"{OPERATIONS}: column ended_ns holds string, not whole numbers",
    ),
    "older, numbers that do not fit": (
        older(lambda run: small.edit_column(run / OPERATIONS, "kind", lambda kind: kind.astype("i8") + 300)),
        f"{OPERATIONS}: column kind has values outside 0 to 255",
    ),
    "older, ends before starts": (
        older(lambda run: small.edit_column(run / CALLS, "ended_ns", lambda ns: ns - 10**9)),
        f"{CALLS}: column ended_ns has ends before their starts",
    ),
    "older, processes mixed": (
        older(lambda run: small.edit_column(run / OPERATIONS, "process", lambda p: np.resize([1, 2], p.size))),
        f"{OPERATIONS}: column process is out of order",
    ),
    "older, outcomes unheard of": (
        older(lambda run: small.edit_column(run / OPERATIONS, "outcome", lambda outcome: outcome + 7)),
        f"{OPERATIONS}: column outcome has values outside 0 to 2",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reference(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A run that may be damaged; its summary is from when it was whole."""
    shutil.copytree(whole, tmp_path / "run")
    rebuild(tmp_path / "run")
    return tmp_path / "run"


def test_the_run_is_well_before_it_is_damaged(run: Path) -> None:
    found = lab.load(run)
    assert (found.valid, found.problems) == (True, ())
    assert set(found.operations.trial) == {1, 2, 3}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_trial_is_named_and_left_out_and_the_others_are_used(what: str, run: Path) -> None:
    damage, said = DAMAGES[what]
    damage(run)
    loaded = lab.load(run)
    (problem,) = loaded.problems
    assert problem.startswith(said)
    assert "\n" not in problem
    summary = rebuild(run)
    for valid, why, arms in (
        (summary["valid"], summary["invalid_because"], {name: arm["ok"] for name, arm in summary["arms"].items()}),
        (loaded.valid, loaded.why, {name: arm.ok for name, arm in loaded.arms.items()}),
    ):
        assert not valid
        assert [reason for reason in why if reason.startswith(said)]
        assert arms["per-process"] > 300
        assert arms["reinit"] > 300
    assert summary["arms"]["shared"]["trials"] == loaded.arms["shared"].trials == 0
    for frame in (loaded.operations, loaded.calls, loaded.sessions, loaded.trials, loaded.failures, loaded.rules):
        assert set(frame.trial) <= {1, 2}
    assert set(loaded.trials.trial) == {1, 2}


def test_nothing_of_a_damaged_run_is_compared(run: Path, tmp_path: Path) -> None:
    (run / CALLS).unlink()
    other = write_reference(tmp_path / "other")
    small.edit_json(other / "manifest.json", lambda manifest: manifest.update(started="later"))
    found = compared(run, other)
    assert found["invalid_because"] == [f"A: {CALLS}: is missing", "A: shared: no trial"]
    assert {each["because"] for each in found["comparisons"]} == {"A is not valid"}


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("manifest.json", Path.unlink, "manifest.json: is missing"),
        ("manifest.json", lambda path: path.write_text("{"), "manifest.json: is not JSON"),
        ("plan.json", Path.unlink, "plan.json: is missing"),
        (DAMAGED, shutil.rmtree, None),
        ("trials/0002-per-process", shutil.rmtree, "trials: 2 of the first 3 is missing"),
    ],
)
def test_what_lies_beside_the_trials_is_missed_too(name: str, damage: Damage, said: str | None, run: Path) -> None:
    """But for the last trials of a plan: such a run was interrupted."""
    damage(run / name)
    loaded, summary = lab.load(run), rebuild(run)
    assert [problem.startswith(str(said)) for problem in loaded.problems] == ([] if said is None else [True])
    assert [reason for reason in summary["invalid_because"] if reason.startswith(str(said))] or said is None
    assert summary["partial"] == loaded.partial == name.startswith("trials")


def test_a_run_without_trials_has_no_figures(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / "trials")
    assert report(run) == 1
    assert "there is no trial" in capsys.readouterr().out
    loaded = lab.load(run)
    assert (loaded.valid, loaded.problems) == (False, ("there is no trial",))
    assert loaded.arms["per-process"].response_ms.p50 is None
    assert [len(frame) for frame in (loaded.operations, loaded.calls, loaded.sessions, loaded.trials)] == [0, 0, 0, 0]
    assert loaded.arms_frame["response_ms.p50"].isna().all()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text("{}")])
def test_without_its_scenario_a_run_has_what_its_summary_said_and_that_is_marked(
    damage: Damage, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(run / "scenario.json")
    before = (run / "summary.json").read_bytes()
    assert report(run) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "nothing of it was checked" in shown
    assert (run / "summary.json").read_bytes() == before
    loaded = lab.load(run)
    assert not loaded.valid
    assert "scenario.json" in loaded.why[0]
    assert loaded.arms["reinit"].ok > 300
    assert set(loaded.calls.trial) == {1, 2, 3}
    with pytest.raises((ScenarioError, LabFault), match=r"scenario\.json"):
        compared(run, run.parent)
    (run / "summary.json").unlink()
    with pytest.raises((ScenarioError, LabFault), match=r"scenario\.json"):
        lab.load(run).arms  # noqa: B018


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 0, "arms": {}}', '{"schema": 1, "arms": {"a": {}}}'])
def test_a_summary_that_is_missing_or_of_another_version_is_made_again_in_memory(text: str, run: Path) -> None:
    said = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(text)
    assert lab.load(run).summary == said
    assert (run / "summary.json").read_text() == text


def test_a_figure_of_a_summary_that_its_trials_no_longer_carry_is_not_shown(run: Path) -> None:
    shutil.rmtree(run / DAMAGED)
    assert json.loads((run / "summary.json").read_text())["arms"]["shared"]["trials"] == 1
    assert lab.load(run).arms["shared"].planned == 0


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: None])
def test_what_is_no_run_folder_is_refused_in_one_line(make: Damage, tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path)
    for look in (lab.load, report, lambda path: compared(path, small.REFERENCE)):
        with pytest.raises(ScenarioError, match=f"^{path}: (is|does) no") as refused:
            look(path)
        assert "\n" not in str(refused.value)


def test_without_a_path_the_latest_run_is_loaded_and_without_one_the_reference(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "project" / "notebooks"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert lab.load().path == small.REFERENCE
    results = tmp_path / "project" / "results"
    results.mkdir()
    os.symlink(run, results / "latest")
    assert lab.load().path == results / "latest"
    assert lab.load().name == "run"
