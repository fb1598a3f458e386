"""Run folders read back."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.analysis.segments import by_process
from lab.errors import LabFault, ScenarioError
from lab.record.columns import CALLS, OPERATIONS
from lab.record.run import Run
from lab.record.table import ParquetTable
from tests.sealed_run import write_run


def test_a_run_gives_its_scenario_and_its_trials_in_order(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    assert run.scenario["name"] == "small"
    assert run.name == "run"
    assert [trial.record.number for trial in run.trials()] == [1, 2]
    assert not run.partial


@pytest.mark.parametrize("rows_per_group", [1, 5, 1000])
def test_the_rows_of_each_process_are_the_same_however_the_file_is_divided(tmp_path: Path, rows_per_group: int) -> None:
    trial = next(Run.open(write_run(tmp_path / "run", rows_per_group=rows_per_group)).trials())
    whole = {name: trial.calls[name] for name in CALLS}
    cut = list(by_process(trial.calls))
    assert [index for index, _ in cut] == [1, 2]
    for index, rows in cut:
        for name, column in rows.items():
            assert column.dtype == CALLS[name]
            assert column.tolist() == whole[name][whole["process"] == index].tolist()


def test_a_missing_trial_makes_the_run_partial(tmp_path: Path) -> None:
    assert Run.open(write_run(tmp_path / "run", trials=1)).partial


def test_a_trial_that_was_never_sealed_makes_the_run_partial_and_is_passed_over(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    (run.path / "trials" / "0003-a").mkdir()
    assert run.partial
    assert len(list(run.trials())) == 2


@pytest.mark.parametrize(
    ("name", "because"), [("absent", "does not exist"), ("file", "is not a folder"), ("empty", "is no run folder")]
)
def test_a_path_that_is_no_run_folder_is_the_user_s_mistake(tmp_path: Path, name: str, because: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScenarioError, match=f"{name}: {because}"):
        Run.open(tmp_path / name)


@pytest.mark.parametrize("text", ["{", "[]", '{"number": 1}'])
def test_a_trial_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    (run.trial_folders[0] / "trial.json").write_text(text)
    with pytest.raises(LabFault, match=r"0001-a/trial\.json"):
        list(run.trials())


def test_parquet_files_that_are_missing_broken_or_incomplete_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabFault, match="is missing"):
        ParquetTable.open(tmp_path / "none.parquet", CALLS)
    (tmp_path / "broken.parquet").write_text("no Parquet")
    with pytest.raises(LabFault, match="not a readable Parquet file"):
        ParquetTable.open(tmp_path / "broken.parquet", CALLS)
    pq.write_table(pa.table({"process": [1]}), tmp_path / "short.parquet")
    with pytest.raises(LabFault, match="has no column thread"):
        ParquetTable.open(tmp_path / "short.parquet", OPERATIONS)
