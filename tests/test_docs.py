"""docs/bug-42688.md: its commands run, its scenario has the arms that it names, its pictures and tables are made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import figures, measured
from lab import program
from lab.scenario import parse
from tests.runs import Place, open_folder

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "bug-42688.md").read_text()
SCENARIO = ROOT / "scenarios" / "bug-42688.toml"
ARMS = [arm.name for arm in parse(SCENARIO.read_text(), SCENARIO.name).arms]

MEASURES = re.compile(r"python -m lab (scenarios/\S+\.toml)(.*)")
OTHERS = {
    "python -m lab report results/bug-42688": "tests/commands, on other run folders",
    "python -m docs.figures results/bug-42688": "test_the_pictures_and_tables_are_made_from_a_run",
}


def commands() -> list[str]:
    """Every line of a code block, without its comment."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_page_is_one_that_is_taken(command: str, tmp_path: Path) -> None:
    measures = MEASURES.fullmatch(command)
    if measures is None:
        assert command in OTHERS
        return
    options = [*measures[2].split(), "--dry-run"]
    words = [sys.executable, "-m", "lab", str(ROOT / measures[1]), *options]
    done = subprocess.run(words, env=program.environment(), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(arm in done.stdout for arm in ARMS)


def test_the_page_and_its_pictures_are_about_the_arms_of_the_scenario() -> None:
    shown = {*measured.PREPARED, *measured.NEITHER, *measured.HTTPD}
    assert shown == set(ARMS)
    assert {*measured.FIRST, *(arm for pair in measured.PAIRS for arm in pair)} <= shown
    named = set(re.findall(r"`((?:A|B|neither|httpd)-[a-z0-9-]*[a-z0-9])`", PAGE))
    assert named == shown


def test_every_link_and_picture_of_the_page_is_there() -> None:
    found = [link for link in re.findall(r"\]\(([^)]+)\)", PAGE) if not link.startswith("http")]
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", PAGE, re.M)
    }
    for link in found:
        assert link[1:] in headings if link.startswith("#") else (ROOT / "docs" / link).exists(), link
    assert {f"pictures/{name}" for name in figures.DRAWN} <= set(found)


def test_the_marks_of_the_page_are_the_parts_that_are_made_and_no_other_text_is_changed() -> None:
    marks = re.findall(r"<!-- (\w+): ", PAGE)
    assert sorted(marks) == sorted(figures.BLOCKS)
    assert PAGE.count("<!-- end -->") == len(marks)
    emptied = figures.renewed(PAGE, dict.fromkeys(marks, "new"))
    assert emptied.count(" -->\nnew\n<!-- end -->") == len(marks)
    strip = re.compile(r"(<!-- \w+: .*? -->).*?(<!-- end -->)", re.DOTALL)
    assert strip.sub(r"\1\2", emptied) == strip.sub(r"\1\2", PAGE)


def test_the_pictures_and_tables_are_made_from_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_folder() as elsewhere:
        place = Place(tmp_path, elsewhere)
        place.run(SCENARIO, "--set", "blocks=1")
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr(figures, "PAGE", page)
    monkeypatch.setattr(figures, "PICTURES", tmp_path / "pictures")
    assert figures.main(place.out) == 0
    told = capsys.readouterr().out
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == set(figures.DRAWN)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "pictures").iterdir())
    assert str(place.summary()["arms"]["neither-prefork"]["planned"]) in told
    assert all(text in page.read_text() for text in re.split(r"\n\n\w+:\n\n", told.strip())[1:])


def test_a_folder_that_is_no_run_of_the_scenario_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main(tmp_path) == 2
    assert figures.main(ROOT / "results" / "reference") == 2
    refused = capsys.readouterr().err.splitlines()
    assert refused[0].endswith("is no run folder (it has no scenario.json)")
    assert "no run of bug-42688, it lacks A-4-hosts-by-ip, " in refused[1]
