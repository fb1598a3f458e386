"""docs/real-hsm.md: its scenarios are scenarios, and what it says that the lab does to a token is what it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import program
from lab.scenario import parse
from lab.scenario.rules import MODULE_ONLY

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "real-hsm.md").read_text()
FRAGMENTS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
VENDORS = re.findall(r"^## ((?:Entrust|Thales|AWS|YubiHSM|Nitrokey).*)$", PAGE, re.MULTILINE)


def test_each_vendor_has_a_scenario_paths_a_pin_and_sources() -> None:
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    for vendor in VENDORS:
        [part] = [part for part in parts if part.startswith(vendor)]
        assert part.count("```toml") == 1, vendor
        rows = re.findall(r"^\| (\w+) \|", part, re.MULTILINE)
        assert rows == ["module", "token", "PIN", "environment", "sessions"], vendor
        assert "\nSources: " in part, vendor
    assert len(VENDORS) == 5
    assert len(FRAGMENTS) == 1 + len(VENDORS)


@pytest.mark.parametrize("text", FRAGMENTS, ids=["the table", *VENDORS])
def test_a_scenario_of_the_page_is_planned_without_module_and_pin(text: str, tmp_path: Path) -> None:
    scenario = tmp_path / "hsm.toml"
    scenario.write_text(text)
    [pin] = re.findall(r'pin_(?:env|file) = "([^"]+)"', text)
    assert pin not in os.environ
    words = [sys.executable, "-m", "lab", str(scenario), "--dry-run"]
    done = subprocess.run(words, env=program.environment(), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert parse(text, str(scenario)).arms[0].token.kind == "module"  # type: ignore[union-attr]


def test_the_keys_that_the_page_names_are_those_of_a_module() -> None:
    shown = {key for text in FRAGMENTS for key in re.findall(r"^(\w+) = ", text.split("\n\n")[0], re.MULTILINE)}
    told = {"init_string", "provision"}
    assert all(f"`{key}" in PAGE or f"**{key}**" in PAGE for key in told)
    assert shown | told == {"kind", *MODULE_ONLY}


def test_every_link_of_the_page_is_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert links
    assert all((ROOT / "docs" / link).exists() for link in links)
