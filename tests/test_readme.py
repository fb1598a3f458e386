"""The README: its commands run, its figures are those of the reference run, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab import program
from lab.scenario import parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROSE = " ".join(README.split())


def commands() -> set[str]:
    """Every line of a code block that starts one of our programs, without its comment."""
    every = re.findall(r"^```(\w*)\n(.*?)^```\n", README, re.MULTILINE | re.DOTALL)
    blocks = [block for language, block in every if not language]
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return {line for line in lines if line.startswith(("script/", "python -m lab"))}


RUN_HERE = {
    "python -m lab report results/reference": ["report", "{copy}"],
    "python -m lab report RUN": ["report", "{copy}"],
    "python -m lab tokens": ["tokens"],
    "python -m lab schema": ["schema"],
}
RUN_ELSEWHERE = {
    "script/test": "runs these tests",
    "python -m lab schema > scenario.schema.json": "the same as without a file, above, and tests/test_schema.py",
    "script/run scenarios/shared-vs-per-process.toml": "test_the_first_command_of_the_readme_measures",
    "python -m lab compare RUN RUN [--out DIR]": "tests/commands/test_compare.py",
    "python -m lab trace [--out DIR] [--module PATH] [--bridge BRIDGE] [--quiet] [--no-report] -- COMMAND ...": (
        "tests/trace"
    ),
    "python -m lab calibrate [--quick] [--only PART] [--keep DIR] [--quiet]": "tests/commands/test_calibrate.py",
    "python -m lab calibrate": "the same, and its parts in tests/calibration",
    "python -m lab probe --token KIND | --module PATH ...": "tests/commands/test_probe.py",
    "python -m lab probe --token softhsm --reset-on-fork": "tests/commands/test_probe.py",
    "python -m lab probe --module /opt/hsm/lib/libpkcs11.so --token-label LABEL --pin-env HSM_PIN --key-label KEY "
    "--key rsa-2048": "tests/commands/test_probe.py",
    "python -m lab trace -- pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --test-fork": "tests/trace",
    "python -m lab trace --module /opt/hsm/lib/libpkcs11.so -- /usr/sbin/apache2 -f /etc/my-httpd.conf": "tests/trace",
    "python -m lab SCENARIO.toml [--out DIR] [--set KEY=VALUE ...] [--dry-run] [--quiet] [--no-report]": (
        "test_exit_status"
    ),
}


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    assert commands() == {*RUN_HERE, *RUN_ELSEWHERE}


@pytest.mark.parametrize("words", RUN_HERE.values(), ids=RUN_HERE)
def test_a_command_of_the_readme_works(words: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "reference"
    shutil.copytree(ROOT / "results" / "reference", copy)
    command = [sys.executable, "-m", "lab", *(word.format(copy=copy) for word in words)]
    done = subprocess.run(command, env=program.environment(), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
def test_an_example_of_a_scenario_is_one(text: str) -> None:
    assert parse(text, "readme.toml").arms


def test_the_first_command_of_the_readme_measures(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["script/run", "scenarios/shared-vs-per-process.toml", "--set", "blocks=1", "--out", os.fspath(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "summary.json").read_text())["valid"]


def test_the_reference_run_still_gives_its_summary_and_tables(tmp_path: Path) -> None:
    kept = ROOT / "results" / "reference"
    copy = tmp_path / "reference"
    shutil.copytree(kept, copy)
    command = [sys.executable, "-m", "lab", "report", os.fspath(copy)]
    subprocess.run(command, env=program.environment(), check=True, capture_output=True)
    for path in (kept / "summary.json", *(kept / "tables").iterdir()):
        assert (copy / path.relative_to(kept)).read_bytes() == path.read_bytes(), path


def test_the_figures_of_the_readme_are_those_of_the_reference_run() -> None:
    arms = json.loads((ROOT / "results" / "reference" / "summary.json").read_text())["arms"]
    total_ms = {name: arm["cold_ms"]["total"] for name, arm in arms.items()}
    held = arms["shared"]["processes"]["pss_mib_p50"]
    mib = {name: arm["processes"]["pss_mib_p50"] - held for name, arm in arms.items()}
    assert arms["shared"]["ok"] == 0
    assert f"needs {total_ms['per-process']:.1f} ms and {mib['per-process']:.1f} MiB more" in PROSE
    assert f"reloads it {total_ms['reinit']:.1f} ms and {mib['reinit']:.1f} MiB" in PROSE


def test_every_link_and_scenario_of_the_readme_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    listed = re.findall(r"^\| ([a-z0-9-]+) \| .* \|$", README, re.MULTILINE)
    shipped = {path.stem for path in (ROOT / "scenarios").glob("*.toml")}
    assert shipped <= set(listed)
