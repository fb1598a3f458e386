"""The notebooks: they only import the lab and show, are committed without outputs, and run to their end."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

import lab
from lab.report import notebook
from lab.report.figures.drawing import Sentence
from tests.sealed_run import write_run

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REFERENCE = ROOT / "results" / "reference"
DOES_MORE_THAN_SHOW = {"open", "exec", "eval", "compile", "__import__", "input"}


def test_all_six_are_there() -> None:
    named = {"report", "shared-vs-per-process", "sessions", "failures", "capacity", "tokens"}
    assert {path.stem for path in NOTEBOOKS} == named


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_has_one_parameter(path: Path) -> None:
    found = json.loads(path.read_text())
    nbformat.validate(nbformat.reads(path.read_text(), as_version=4))  # type: ignore[no-untyped-call]
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)
    parameters = [cell.source for cell in notebook.cells(path) if "parameters" in cell.tags]
    assert parameters == ["RUN = None"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_the_lab_and_measures_nothing(path: Path) -> None:
    for cell in notebook.cells(path):
        if cell.kind != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in imported:
                assert name == "lab" or name.startswith("lab.report."), f"{name}: only lab and lab.report show"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in DOES_MORE_THAN_SHOW


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_kernel_on_the_reference_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    for cell in found.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source = f"RUN = {str(REFERENCE)!r}"
    files = Config({"ConnectionFileMixin": {"transport": "ipc"}})  # and no port that others reach
    before = set(psutil.Process().children())
    NotebookClient(found, timeout=100, kernel_name="python3", config=files).execute()
    assert set(psutil.Process().children()) <= before  # one that it was given, it would leave running

    shown = {kind for cell in found.cells for output in cell.get("outputs", ()) for kind in output.get("data", ())}
    assert {"image/png", "text/html", "text/markdown"} & shown
    assert "image/png" in shown or path.stem in ("capacity", "tokens")
    assert not [output for cell in found.cells for output in cell.get("outputs", ()) if output.output_type == "stream"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_in_a_sentence_what_a_small_run_has_not(path: Path, tmp_path: Path) -> None:
    run = lab.load(write_run(tmp_path / "run"))
    values = [value for cell, value in notebook.shown(path, {"run": run}) if cell.kind == "code"]
    assert [value for value in values if isinstance(value, Exception)] == []
    sentences = [str(value) for value in _flat(values) if isinstance(value, Sentence)]
    expected = {
        "capacity": "one size of each only",
        "tokens": "has not several tokens",
        "failures": "Nothing failed",
        "report": "No handshake of this run could be followed",
        "shared-vs-per-process": "No rule is broken",
    }
    if path.stem in expected:
        assert expected[path.stem] in " ".join(sentences)


def test_a_cell_that_fails_leaves_the_others(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "metadata": {}, "source": source} for source in ("1 / 0", "x = 2\nx + x", "x = 3")]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    first, second, third = (value for _, value in notebook.shown(path, {}))
    assert isinstance(first, ZeroDivisionError)
    assert (second, third) == (4, None)


def _flat(values: list[Any]) -> list[Any]:
    return [each for value in values for each in (value if isinstance(value, list) else [value])]
