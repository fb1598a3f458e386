"""`lab compare`, as a user starts it, and what it takes for comparable."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab import program
from lab.errors import ScenarioError
from lab.report.compared import show
from lab.report.comparing import compared
from tests import small_reference as small
from tests.small_reference import DAMAGED, REFERENCE, write_reference

SLOWER = 3


def slow_down(run: Path) -> None:
    """Every operation takes three times as long, from its planned start on; of another day and module."""
    for trial in run.glob("trials/*"):
        path = trial / "operations.parquet"
        intended = small.column(path, "intended_ns")
        for name in ("started_ns", "ended_ns"):
            slow = intended + SLOWER * (small.column(path, name) - intended)
            small.edit_column(path, name, lambda _, slow=slow: slow)
        small.seal_again(trial)
    small.edit_json(run / "manifest.json", elsewhere)


def elsewhere(manifest: dict[str, Any]) -> None:
    manifest["started"] = "2026-11-24T10:00:00Z"
    manifest["tokens"][0]["module_sha256"] = "0" * 64
    manifest["machine"]["kernel"] = "7.0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    first, second = (write_reference(folder / name, blocks=5) for name in ("here", "there"))
    slow_down(second)
    return first, second


@pytest.fixture(scope="module")
def found(runs: tuple[Path, Path]) -> dict[str, Any]:
    return compared(*runs)


def started(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab", "compare", *map(str, words)]
    return subprocess.run(command, env=program.environment(), capture_output=True, text=True, check=False)


def test_two_runs_are_compared_shown_and_written(
    runs: tuple[Path, Path], found: dict[str, Any], tmp_path: Path
) -> None:
    done = started(*runs, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    assert f"machine.kernel: {small.MANIFEST['machine']['kernel']} and 7.0" in text
    assert "reinit: response time at p50: B / A = 3.0" in text
    assert "slower at a margin of 5 %" in text
    assert "shared: cannot be compared: A has no operation that ended well" in text
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == found
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"compare.json", "report.html", "report.md", "figures", "tables"}
    assert all((tmp_path / "out" / name).exists() and name in text for name in ("compare.json", "report.html"))
    refused = started(*runs, "--out", tmp_path / "out")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is not empty" in refused.stderr


def test_the_other_way_round_the_ratio_is_inverted(runs: tuple[Path, Path], found: dict[str, Any]) -> None:
    for forth, back in zip(found["comparisons"], compared(*runs[::-1])["comparisons"], strict=True):
        if forth["ratio"] is None:
            assert back["because"] == forth["because"]
            continue
        assert back["ratio"] == pytest.approx(1 / forth["ratio"])
        assert back["ci"] == pytest.approx([1 / end for end in reversed(forth["ci"])])


def test_what_differs_is_told_and_what_is_the_same_is_not(found: dict[str, Any]) -> None:
    assert [each["key"] for each in found["differs"]] == ["machine.kernel", "tokens.0.module_sha256"]


def test_a_damaged_run_is_shown_and_not_compared_and_the_status_is_1(runs: tuple[Path, Path], tmp_path: Path) -> None:
    damaged = write_reference(tmp_path / "damaged")
    small.cut(damaged / DAMAGED / "calls.parquet", 0.5)
    (damaged / "manifest.json").unlink()
    done = started(runs[1], damaged)
    assert (done.returncode, done.stderr) == (1, "")
    text = " ".join(done.stdout.split())
    assert "B: trials/0003-shared/calls.parquet: is not what was sealed" in text
    assert "B has no manifest: its machine and versions are not known" in text
    assert "per-process: cannot be compared: B is not valid" in text


REFUSED = {
    "another seed": ({"seed": 7}, "scenario.json differs in seed (42688 and 7)"),
    "another margin": ({"margin": {"response_ms.p50": 0.1}}, "scenario.json differs in margin."),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_may_not_be_compared_is_refused_by_key(what: str, runs: tuple[Path, Path], tmp_path: Path) -> None:
    changed, said = REFUSED[what]
    with pytest.raises(ScenarioError) as refused:
        compared(runs[0], write_reference(tmp_path / "other", **changed))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_load_or_no_arm_in_common_is_refused_with_status_2(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_reference(tmp_path / "other")
    small.edit_json(other / "scenario.json", lambda scenario: scenario["arms"][0]["load"].update(rate_hz=500.0))
    done = started(runs[0], other)
    assert (done.returncode, done.stdout) == (2, "")
    assert "arms.per-process.load.rate_hz (450.0 and 500.0)" in done.stderr
    small.edit_json(other / "scenario.json", lambda s: [arm.update(name=arm["name"] + "2") for arm in s["arms"]])
    with pytest.raises(ScenarioError, match="no arm in common"):
        compared(runs[0], other)


def test_a_run_and_its_copy_are_the_same_run(runs: tuple[Path, Path]) -> None:
    for path in (runs[0], REFERENCE):
        with pytest.raises(ScenarioError, match="are the same run"):
            compared(runs[0], path)


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(found: dict[str, Any], width: int) -> None:
    out = io.StringIO()
    show(found, Console(file=out, width=width))
    assert max(map(len, out.getvalue().splitlines())) <= width
    assert "…" not in out.getvalue()
