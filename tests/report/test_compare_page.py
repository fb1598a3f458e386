"""The report of two runs: its files, its first screen, what it needs, and how it looks in a browser."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.report.compare_page import write
from lab.report.comparing import Pair, Side, pair
from lab.report.told.two_runs import of
from tests import small_reference as small
from tests.browser import WIDTHS, look_at
from tests.commands.test_compare import slow_down
from tests.report.test_page import Read
from tests.small_reference import DAMAGED, write_reference

BLOCKS = 5  # with 4, no p-value stays below 0.05 after four metrics are counted


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("runs")
    first, second = (write_reference(folder / name, blocks=BLOCKS) for name in ("here", "there"))
    slow_down(second)
    return pair(first, second)


@pytest.fixture(scope="module")
def out(two: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    write(folder, two)
    return folder


@pytest.fixture(scope="module")
def read(out: Path) -> Read:
    return Read((out / "report.html").read_text())


def test_the_first_screen_says_what_was_asked_found_how_sure_and_what_not(read: Read) -> None:
    screen = read.text[: read.text.index("Figures")]
    order = ("Two runs: What does", "both valid", "What was asked", "What was found", "How sure", "What is not valid")
    places = [screen.index(part) for part in order]
    assert places == sorted(places)
    for said in (
        f"A : run here, {small.MANIFEST['started']}",
        f"They differ in the machine: kernel ({small.MANIFEST['machine']['kernel']} and 7.0)",
        "They differ in the token and its module: module_sha256 (10a23f17bc75e66a... and 0000000000000000...)",
        "per-process, reinit: every operation ended well in both",
        "reinit: B is slower than A in response time at p50 : B / A = 3.0",
        "15 trials of A and 15 trials of B are whole and valid",
        "a permutation test of the trials",
        "shared cannot be compared: A has no operation that ended well",
    ):
        assert said in screen, said


def test_the_page_needs_nothing_else(out: Path, read: Read) -> None:
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert all(link.startswith(("data:image/", "#")) for link in read.links)
    assert not re.search(r"url\(|@import", re.sub(r'src="data:[^"]*"', "", (out / "report.html").read_text()))


def test_figures_are_there_as_png_and_svg_and_in_both_reports(out: Path, read: Read) -> None:
    files = {path.name for path in (out / "figures").iterdir()}
    linked = re.findall(r"\]\(figures/(.*?)\.png\)", (out / "report.md").read_text())
    assert linked == ["outcomes", "arm-1-per-process", "arm-3-reinit"]
    assert files == {f"{name}.{kind}" for name in linked for kind in ("png", "svg")}
    assert read.tags.count("img") == len(linked)
    assert "shared: no trial that is whole and valid has a figure that is compared" in read.text


def test_tables_have_every_comparison_and_the_trials_of_both(out: Path, two: Pair) -> None:
    def rows(name: str) -> list[dict[str, str]]:
        with (out / "tables" / name).open(newline="") as file:
            return list(csv.DictReader(file))

    for row, each in zip(rows("comparisons.csv"), two.found["comparisons"], strict=True):
        assert [row[key] for key in ("arm", "metric", "verdict")] == [each[key] for key in ("arm", "metric", "verdict")]
        assert row["ratio"] == ("" if each["ratio"] is None else str(each["ratio"]))
        assert [row["ci_low"], row["ci_high"]] == [str(end) for end in each["ci"] or ("", "")]
    trials = rows("trials.csv")
    assert [row["run"] for row in trials] == ["A"] * 3 * BLOCKS + ["B"] * 3 * BLOCKS
    slower = [float(row["cold_ms_login"]) for row in trials if row["arm"] == "reinit"]
    assert all(b > 2 * a for a, b in zip(slower[:BLOCKS], slower[BLOCKS:], strict=True))


def test_a_run_that_is_not_valid_is_named_and_nothing_is_said_of_rules_that_it_has_no_trial_of(tmp_path: Path) -> None:
    first, damaged = write_reference(tmp_path / "first"), write_reference(tmp_path / "damaged")
    small.edit_json(first / "manifest.json", lambda manifest: manifest.update(started="2026-11-25T10:00:00Z"))
    small.cut(damaged / DAMAGED / "calls.parquet", 0.5)
    (damaged / "manifest.json").unlink()
    screen = of(pair(first, damaged)).replace("\\", "")
    for said in (
        "nothing of them is compared, and no figure is to be relied on",
        "B: trials/0003-shared/calls.parquet: is not what was sealed",
        "B has no manifest: its machine and versions are not known.",
        "cannot be compared: B is not valid.",
    ):
        assert said in screen, said
    assert "in A only" not in screen


HOSTILE = "<script>alert(1)</script> $\\frac{$ **bold** [a](http://x) | `code`"


def test_what_comes_from_a_run_is_text_and_no_markup(two: Pair, tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(json.dumps(two.found).replace('"reinit"', json.dumps(HOSTILE)))
    found["a"]["question"] = found["b"]["run"] = HOSTILE
    found["differs"] = [{"key": HOSTILE, "a": HOSTILE, "b": None}]
    sides = [_renamed(side) for side in (two.first, two.second)]
    read = Read(write(tmp_path, Pair(*sides, found)).read_text())
    assert read.text.count(HOSTILE) > 5
    assert "script" not in read.tags
    assert all(link.startswith(("data:image/", "#")) for link in read.links)
    assert read.tags.count("img") == 3


def _renamed(side: Side) -> Side:
    trials = [
        (record, replace(facts, arm=HOSTILE) if facts.arm == "reinit" else facts) for record, facts in side.trials
    ]
    return replace(side, trials=trials)


@pytest.fixture(scope="module")
def seen(out: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    return look_at(out / "report.html", tmp_path_factory.mktemp("browser"))


@pytest.mark.parametrize("width", WIDTHS)
def test_in_a_browser_nothing_overflows_and_no_picture_is_missing(width: int, seen: dict[int, dict[str, Any]]) -> None:
    assert seen[width]["overflow"] <= 0
    assert seen[width]["outside"] == []
    assert len(seen[width]["pictures"]) == 3
    assert all(there and shown >= 600 for there, _, shown in seen[width]["pictures"])
    assert seen[width]["smallest"] >= 13
