"""What a report writes besides the summary: tables of every process, and a picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lab.commands.report import rebuild
from lab.record.names import FUNCTION_NUMBER
from lab.record.run import Run
from tests.sealed_run import write_run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_process_of_every_trial_has_a_row(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", trials=3)
    rebuild(folder)
    found = rows(folder / "tables" / "processes.csv")
    assert [(row["trial"], row["process"]) for row in found] == [(str(t), str(p)) for t in (1, 2, 3) for p in (1, 2)]


def test_open_sessions_over_time_begin_at_one_and_end_at_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", trials=1)
    record = folder / "trials" / "0001-a" / "trial.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "released_ns": 1_500}))
    rebuild(folder)
    found = [row for row in rows(folder / "tables" / "sessions.csv") if row["process"] == "1"]
    assert [row["open"] for row in found] == ["1", "0"]
    assert float(found[0]["at_ms"]) < float(found[1]["at_ms"])
    sealed = Run.open(folder).trial(folder / "trials" / "0001-a")
    opened = (sealed.calls["process"] == 1) & (sealed.calls["function"] == FUNCTION_NUMBER["C_OpenSession"])
    (ended_ns,) = sealed.calls["ended_ns"][opened].tolist()
    assert float(found[0]["at_ms"]) == pytest.approx((ended_ns - 1_500) / 1e6)


def test_the_picture_is_drawn_and_is_the_same_for_the_same_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    rebuild(folder, picture=True)
    first = (folder / "overview.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    rebuild(folder, picture=True)
    assert (folder / "overview.png").read_bytes() == first


def test_every_trial_has_a_row_with_its_main_figures_and_its_label(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", trials=3)
    summary = rebuild(folder)
    found = rows(folder / "tables" / "trials.csv")
    assert [row["trial"] for row in found] == ["1", "2", "3"]
    assert sum(int(row["ok"]) for row in found) == sum(arm["ok"] for arm in summary["arms"].values())
    for row in found:
        assert float(row["service_ms_p50"]) > 0
        assert (row["partial"], row["invalid_because"], row["warmup"]) == ("False", "", "")  # too few operations for it
