"""`lab.load`: the reference run as types and DataFrames."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lab
from lab import program
from lab.record.columns import CONNECTIONS, FAIL, OPERATIONS
from lab.record.dtypes import LAYER, SIDE
from lab.record.run import StoredTrial
from lab.report.loaded import FRAMES, Run
from lab.report.loaded.rows import when_failed
from tests.sealed_run import write_run
from tests.small_reference import REFERENCE
from tests.trial_builder import NOT_INITIALIZED, record, worker


@pytest.fixture(scope="module")
def run() -> Run:
    return lab.load(REFERENCE)


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_has_the_columns_and_dtypes_that_are_documented(name: str, run: Run) -> None:
    frame = getattr(run, name)
    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == {
        column: documented.dtype for column, documented in FRAMES[name].items()
    }
    assert len(frame)
    assert getattr(run, name) is frame  # made once


def test_counts_of_rows_are_those_of_the_summary(run: Run) -> None:
    load = run.operations[run.operations.phase.isin(["warmup", "measured"])]
    for name, arm in run.arms.items():
        outcomes = load[load.arm == name].outcome.value_counts()
        assert [outcomes["ok"], outcomes["fail"], outcomes["info"]] == [arm.ok, arm.fail, arm.info]
        trials = run.trials[run.trials.arm == name]
        assert [trials[part].sum() for part in ("planned", "ok", "shed")] == [arm.planned, arm.ok, arm.shed]
        signed = run.calls[(run.calls.arm == name) & (run.calls.function == "C_Sign")]
        assert len(signed) == arm.raw["pkcs11_ms"].get("C_Sign", {"count": 0})["count"]


def test_the_figures_of_a_trial_are_those_of_its_operations(run: Run) -> None:
    measured = run.operations.query("phase == 'measured' and outcome == 'ok'")
    medians = measured.groupby("trial").response_ms.median()
    listed = run.trials.set_index("trial")["response_ms.p50"].dropna()
    assert listed.index.equals(medians.index)
    assert np.allclose(listed, medians, rtol=0.05)


def test_arms_are_in_the_order_of_the_scenario_everywhere(run: Run) -> None:
    arms = ["per-process", "shared", "reinit"]
    assert list(run.arms) == run.arms_frame["arm"].tolist() == arms
    for frame in (run.operations, run.calls, run.sessions, run.trials, run.failures, run.rules):
        assert frame.arm.cat.categories.tolist() == arms


def test_what_was_not_measured_is_missing_and_never_0(run: Run) -> None:
    shared = run.trials[run.trials.arm == "shared"]
    assert shared["response_ms.p50"].isna().all()
    assert (shared["throughput_hz"] == 0).all()
    ok = run.operations[run.operations.outcome == "ok"]
    assert ok.code.isna().all()
    assert run.operations.query("phase == 'setup'").response_ms.isna().all()
    assert not (run.operations.ended_ms == 0).any()


def test_a_closed_loop_has_no_planned_time(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", trials=1)
    trial = folder / "trials" / "0001-a" / "trial.json"
    trial.write_text(json.dumps({**json.loads(trial.read_text()), "open_loop": False}))
    found = lab.load(folder).operations
    assert found[["intended_ms", "response_ms", "lag_ms"]].isna().all(axis=None)
    assert found["service_ms"].notna().all()


def test_sessions_over_time_have_the_peak_of_the_summary(run: Run) -> None:
    for name, arm in run.arms.items():
        assert run.sessions[run.sessions.arm == name].open.max() == arm.sessions_peak_process
    assert run.trials.sessions_peak.max() == max(arm.sessions_peak for arm in run.arms.values())


def test_failures_are_told_with_their_times_and_rules_with_their_evidence(run: Run) -> None:
    failures = run.failures
    assert set(failures.code) == {"CKR_CRYPTOKI_NOT_INITIALIZED"}
    assert failures["count"].sum() == sum(failure.count for failure in run.arms["shared"].failures)
    failed = run.operations[run.operations.outcome == "fail"].groupby(["trial", "process"]).started_ms
    times = failures.set_index(["trial", "process"])
    pd.testing.assert_series_equal(times.first_ms.sort_index(), failed.min(), check_names=False, check_index_type=False)
    pd.testing.assert_series_equal(times.last_ms.sort_index(), failed.max(), check_names=False, check_index_type=False)
    broken = run.rules[run.rules.verdict == "violates"]
    assert set(broken.arm) == {"shared"}
    assert broken.evidence.str.len().min() > 0
    assert broken.at_ms.notna().all()
    assert run.rules[run.rules.verdict != "violates"].at_ms.isna().all()


def test_a_server_s_own_failures_have_the_times_of_its_connections() -> None:
    connections = {name: np.zeros(3, dtype) for name, dtype in CONNECTIONS.items()}
    connections |= {"process": np.array([1, 1, 1], "u2"), "ended_ns": np.array([2_000_000, 3_000_000, 9_000_000])}
    connections |= {"side": np.full(3, SIDE["server"], "u1"), "outcome": np.array([FAIL, FAIL, 0], "u1")}
    connections |= {"code": np.full(3, NOT_INITIALIZED, "u4"), "layer": np.full(3, LAYER["pkcs11"], "u1")}
    nothing = {name: np.empty(0, dtype) for name, dtype in OPERATIONS.items()}
    found = when_failed(StoredTrial(Path(), record(worker(1), released_ns=0), nothing, {}, connections))
    assert found == {(1, 1, True): {("pkcs11", "CKR_CRYPTOKI_NOT_INITIALIZED"): (2.0, 3.0)}}


def test_a_run_without_anything_to_show_has_empty_frames_of_the_same_columns(tmp_path: Path) -> None:
    run = lab.load(write_run(tmp_path / "run", trials=0))
    for name in set(FRAMES) - {"arms_frame"}:
        frame = getattr(run, name)
        assert list(frame.columns) == list(FRAMES[name])
        assert frame.empty
    assert {str(run.operations[name].dtype) for name in ("started_ms", "arm")} == {"float64", "category"}


def test_loading_writes_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run = lab.load(folder)
    for name in FRAMES:
        getattr(run, name)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


CHEAP = """
import sys, lab
print(sorted({"numpy", "pandas", "pyarrow", "scipy"} & sys.modules.keys()), callable(lab.load))
"""


def test_importing_the_lab_imports_nothing_that_takes_long() -> None:
    words = [sys.executable, "-c", CHEAP]
    done = subprocess.run(words, env=program.environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"
