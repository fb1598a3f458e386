"""Stored calibrations: the newest of a machine, and of no other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.errors import LabFault
from lab.record.calibrations import calibrations, newest, store

RUN = Path("elsewhere/run")
HERE, ELSEWHERE = {"cpu": "a", "cpus": 2}, {"cpu": "b", "cpus": 2}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def at(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def test_the_newest_of_a_machine_is_found() -> None:
    store({"machine": HERE, "which": "old"}, at(1))
    store({"machine": HERE, "which": "new"}, at(3))
    store({"machine": ELSEWHERE, "which": "other"}, at(5))
    found = newest(HERE, RUN)
    assert found is not None
    assert found["which"] == "new"


def test_another_machine_has_none_and_neither_has_a_fresh_checkout() -> None:
    assert newest(HERE, RUN) is None
    store({"machine": HERE}, at(1))
    assert newest({**HERE, "cpus": 4}, RUN) is None


def test_its_file_is_named_by_time_and_machine() -> None:
    first, second = store({"machine": HERE}, at(1)), store({"machine": ELSEWHERE}, at(1))
    assert first.parent == calibrations()
    assert first.name.startswith("20261101T000000Z-")
    assert first != second


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99, "machine": {"cpu": "a", "cpus": 2}}'])
def test_a_file_that_says_nothing_is_passed_over(text: str) -> None:
    store({"machine": HERE, "which": "whole"}, at(1))
    (calibrations() / "20261105T000000Z-00000000.json").write_text(text)
    found = newest(HERE, RUN)
    assert found is not None
    assert found["which"] == "whole"


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(LabFault, match="cannot be written"):
        store({"machine": HERE}, at(1))
