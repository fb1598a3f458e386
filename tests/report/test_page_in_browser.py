"""report.html in a real browser, at the width of a phone and of a desktop: nothing overflows, no picture is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from lab import program
from tests.browser import WIDTHS, look_at

REFERENCE: Final = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What each frame measured, by its width."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(REFERENCE, folder / "run")
    command = program.command("lab", "report", str(folder / "run"))
    subprocess.run(command, env=program.environment(), check=True, capture_output=True)
    return look_at(folder / "run" / "report.html", folder)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page(width: int, seen: dict[int, dict[str, Any]]) -> None:
    assert seen[width]["overflow"] <= 0
    assert seen[width]["outside"] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_every_picture_is_there_and_wide_enough_to_read(width: int, seen: dict[int, dict[str, Any]]) -> None:
    pictures = seen[width]["pictures"]
    assert len(pictures) >= 9
    assert [alt for there, alt, _ in pictures if not there] == []
    assert all(shown >= 600 for _, _, shown in pictures)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_is_tiny(width: int, seen: dict[int, dict[str, Any]]) -> None:
    assert seen[width]["smallest"] >= 13


def test_the_four_answers_are_on_the_first_screen_of_a_desktop(seen: dict[int, dict[str, Any]]) -> None:
    top, bottom = seen[1280]["first"]
    assert 0 < top < bottom <= 800
