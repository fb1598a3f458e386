"""`calibrate`: once for real; a stub that lies, bad options, and reports of this machine and of another."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab import program
from lab.calibration.arms import QUICK
from lab.calibration.check import near
from lab.calibration.take import PARTS
from lab.commands.calibrate import FAILED, Options, calibrate
from lab.commands.report import rebuild
from lab.errors import ScenarioError
from lab.record import calibrations, manifest
from lab.report.calibration import cited
from tests.sealed_run import write_run


def lab(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    environment = {**program.environment(), "TMPDIR": str(temporary)}
    command = program.command("lab", *words)
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Quick:
    """One quick calibration: how it ended, and where it ran."""

    done: subprocess.CompletedProcess[str]
    folder: Path

    @property
    def checks(self) -> dict[str, str]:
        """pass or FAIL, by the name of each check."""
        found = re.findall(r"^(pass|FAIL)  (.{29})", self.done.stdout, re.MULTILINE)
        return {name.strip(): word for word, name in found}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Quick:
    folder = tmp_path_factory.mktemp("quick")
    return Quick(lab(folder, "calibrate", "--quick"), folder)


def test_every_part_is_looked_at(quick: Quick) -> None:
    names = " ".join(quick.checks)
    for word in ("null, prefork", "the tap adds", "median of 1 ms", "longest service", "Lindley", "M/D/1", "23", "A/A"):
        assert word in names, quick.done.stderr
    assert "handshake without a token" in quick.done.stdout


def test_what_no_busy_machine_changes_passes(quick: Quick) -> None:
    """Counts and orders, that is; how a loaded machine does by the clock is not asserted."""
    certain = ("known answers", "two arms alike", "23 signatures, five ways", "23 handshakes, five ways")
    certain += ("Lindley, rows below it", "M/D/1, arrivals as drawn")
    assert {name: quick.checks.get(name) for name in certain} == dict.fromkeys(certain, "pass")
    assert "client 23, server 23, operation rows 23, call rows 23, token 23" in quick.done.stdout


def test_the_exit_status_is_that_of_the_checks(quick: Quick) -> None:
    failing = [name for name, word in quick.checks.items() if word == "FAIL"]
    assert quick.done.returncode == bool(failing)
    assert len(re.findall(r"^failed: ", quick.done.stdout, re.MULTILINE)) == len(failing)


def test_progress_is_told_on_stderr(quick: Quick) -> None:
    assert "calibrate: known answers\ntrial 1/" in quick.done.stderr
    assert "calibrate: two arms alike" in quick.done.stderr


def test_nothing_is_stored_and_nothing_is_left(quick: Quick) -> None:
    assert "not stored: with --quick it is too short to be cited" in quick.done.stdout
    assert [path.name for path in quick.folder.rglob("*")] == ["temporary"]


def test_a_stub_that_takes_a_fifth_longer_than_it_says_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    keep = tmp_path / "kept"
    status = calibrate(Options(only=("service",), keep=keep), replace(QUICK, scale=1.2))
    said = capsys.readouterr().out
    assert status == FAILED
    failing = re.findall(r"^failed: (median of \S+ ms): .* \((\+\S+) %\)", said, re.MULTILINE)
    assert [name for name, _ in failing] == ["median of 0.2 ms", "median of 1 ms", "median of 5 ms"]
    assert all(float(error) >= 20 for _, error in failing)
    assert (keep / "known" / "plan.json").is_file()  # the runs that show it
    assert rebuild(keep / "known")["valid"]


def test_one_that_is_interrupted_stores_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**program.environment(), "TMPDIR": str(tmp_path)}
    command = program.command("lab", "calibrate")
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert any(line.startswith("trial 1/") for line in running.stderr)
        running.send_signal(signal.SIGINT)
        assert "interrupted: nothing is stored" in running.stderr.read()
    assert running.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_there_is_not_is_refused_and_so_is_a_folder_that_is_taken(tmp_path: Path) -> None:
    odd = lab(tmp_path, "calibrate", "--only", "luck")
    assert (odd.returncode, odd.stdout) == (2, "")
    assert odd.stderr == f'error: --only: there is no part "luck"; there are: {", ".join(PARTS)}\n'
    with pytest.raises(ScenarioError, match=r"--keep: .* exists and is not empty"):
        calibrate(Options(keep=tmp_path))


def run_of(machine: Mapping[str, Any], folder: Path) -> Path:
    """A run folder that was measured on that machine."""
    write_run(folder)
    (folder / "manifest.json").write_text(json.dumps({"machine": machine}))
    return folder


def test_a_report_cites_the_newest_calibration_of_its_machine_and_none_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = manifest.machine()
    figures = {"floor_us": {"prefork": 0.6}, "tap_us": 0.1, "service_error": {"1": 0.001}}
    calibrations.store(
        {"utc": "2026-11-27T00:00:00Z", "seconds": 58.3, "before": {"load_1min": 0.25}, "machine": here}
        | {"figures": figures, "checks": [near("service", "median of 1 ms", 1.002, 1.0, 0.05, "ms").to_json()]},
        datetime(2026, 11, 27, tzinfo=UTC),
    )
    line = "calibrated 2026-11-27: the lab's own floor is 0.6 µs per operation in prefork, the tap adds 0.1 µs per call"
    ours = run_of(here, tmp_path / "ours")
    assert line in lab(tmp_path, "report", os.fspath(ours)).stdout
    assert "calibrated" not in (ours / "summary.json").read_text()
    for page in ("report.md", "report.html"):
        text = (ours / page).read_text()
        assert f"The lab itself was {line}" in text
        for part in ("median of 1 ms", "1.002 ms (+0.20 %)", "1 ms ± 5 %", "at a load average of"):
            assert part in text
    other = {**here, "cpu": "another"}
    others = run_of(other, tmp_path / "others")
    assert cited(others, rebuild(others)) is None
    lab(tmp_path, "report", os.fspath(others))
    assert (others / "report.md").read_text().count("There is no calibration here of the machine") == 2
    theirs = {"utc": "2026-11-28", "machine": other, "figures": {**figures, "tap_us": 0.3}, "checks": []}
    calibrations.store(theirs, datetime(2026, 11, 28, tzinfo=UTC))  # as in a folder that machines share
    assert "the tap adds 0.3 µs" in str(cited(others, rebuild(others)))
    assert line in str(cited(ours, rebuild(ours)))
    (others / "manifest.json").unlink()
    assert cited(others, rebuild(others)) is None


def test_a_report_from_anywhere_cites_the_calibration_beside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    figures: dict[str, Any] = {"floor_us": {}, "tap_us": 0.1, "service_error": {}}
    found = {"utc": "2026-11-27T00:00:00Z", "machine": manifest.machine(), "figures": figures, "checks": []}
    calibrations.store(found, datetime(2026, 11, 27, tzinfo=UTC))
    run = run_of(manifest.machine(), tmp_path / "results" / "run")
    monkeypatch.chdir("/")
    assert cited(run, rebuild(run)) == "calibrated 2026-11-27: the tap adds 0.1 \u00b5s per call"
