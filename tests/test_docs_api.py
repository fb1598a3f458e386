"""docs/api.md: its examples give what they say, and its columns are those of the DataFrames."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from docs.api import PAGE, with_tables
from lab.report.loaded import FRAMES, Run

ROOT = Path(__file__).parent.parent
TEXT = PAGE.read_text()


def test_the_examples_give_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == TEXT.count("```python")
    assert all(block.startswith(">>> ") for block in blocks)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    done = doctest.DocTestRunner().run(examples, out=told.append)
    assert (done.failed, "".join(told)) == (0, "")
    assert done.attempted > 20


def test_the_tables_of_columns_are_those_of_the_code() -> None:
    assert with_tables(TEXT) == TEXT, "python -m docs.api"
    assert set(re.findall(r"<!-- columns of (\w+) -->", TEXT)) == set(FRAMES)


def test_every_attribute_is_told() -> None:
    public = {name for name in vars(Run) if not name.startswith("_")}
    table = TEXT.split("| attribute of a Run")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) - {"ArmSummary"} == public
