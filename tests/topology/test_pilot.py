"""blocks = "auto", run for real: the pilot lies apart, and the plan is fixed before the first measured trial."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

import lab
from lab.analysis.piloted import FEWEST, MOST
from lab.commands.report import rebuild
from lab.plan import PILOT_BLOCKS
from tests.runs import Place, until

SCENARIO = """
blocks = "auto"
workload.kind = "null"
topology.processes = 1
load = { rate_hz = 200, arrivals = "paced", warmup_s = 0, duration_s = 0.1 }
margin.throughput_hz = 0.99
[[arm]]
name = "a"
[[arm]]
name = "b"
"""


def _place(folder: Path, text: str) -> tuple[Place, Path]:
    path = folder / "scenario.toml"
    path.write_text(text)
    return Place(folder), path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, str, str]:
    """A run with a pilot: its place, and what it printed on stdout and stderr."""
    place, path = _place(tmp_path_factory.mktemp("pilot"), SCENARIO)
    done = place.run(path)
    reasons = place.summary()["invalid_because"]  # of a busy machine: its generator is late
    late = bool(reasons) and all("generator was late" in why for why in reasons)
    assert done.returncode == 0 or (done.returncode == 1 and late), done.stderr
    return place, done.stdout, done.stderr


def plan_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return found


def test_the_plan_says_how_many_blocks_and_why_and_all_of_them_ran(ran: tuple[Place, str, str]) -> None:
    place, _, _ = ran
    plan = plan_of(place.out)

    assert FEWEST <= plan["blocks"] <= MOST
    assert len(plan["trials"]) == len(list(place.out.glob("trials/*/trial.json"))) == 2 * plan["blocks"]
    assert plan["pilot"]["blocks"] == PILOT_BLOCKS
    assert plan["pilot"]["spread"]["b"]["throughput_hz"] >= 0
    assert "throughput_hz of b against a" in plan["pilot"]["because"]
    assert json.loads((place.out / "scenario.json").read_text())["blocks"] == "auto"


def test_the_plan_is_there_before_the_first_measured_trial_and_after_the_pilot(ran: tuple[Place, str, str]) -> None:
    place, _, _ = ran
    written = (place.out / "plan.json").stat().st_mtime_ns
    piloted, measured = (
        [path.stat().st_mtime_ns for path in (place.out / where).glob("*/trial.json")]
        for where in ("pilot/trials", "trials")
    )

    assert max(piloted) <= written <= min(measured)


def test_trials_of_the_pilot_are_in_no_figure(ran: tuple[Place, str, str]) -> None:
    place, _, _ = ran
    blocks = plan_of(place.out)["blocks"]
    run = lab.load(place.out)

    assert len(list(place.out.glob("pilot/trials/*/trial.json"))) == 2 * PILOT_BLOCKS
    assert [arm["trials"] for arm in place.summary()["arms"].values()] == [blocks, blocks]
    assert len(run.trials) == 2 * blocks
    assert run.operations["trial"].nunique() == 2 * blocks


def test_the_terminal_says_who_chose_and_progress_shows_the_pilot(ran: tuple[Place, str, str]) -> None:
    place, out, err = ran
    line = f"blocks: {plan_of(place.out)['blocks']}, chosen by a pilot of {PILOT_BLOCKS}"

    assert line in out.splitlines()
    assert line in err
    assert f"pilot trial {2 * PILOT_BLOCKS}/{2 * PILOT_BLOCKS} " in err


def test_a_report_says_it_again_with_the_same_bytes(ran: tuple[Place, str, str]) -> None:
    place, _, _ = ran
    before = (place.out / "summary.json").read_bytes()
    summary = rebuild(place.out)

    assert (place.out / "summary.json").read_bytes() == before
    assert summary["blocks_chosen"]["blocks"] == plan_of(place.out)["blocks"]


def test_an_interrupt_in_the_pilot_measures_nothing_and_says_so(tmp_path: Path) -> None:
    place, path = _place(tmp_path, SCENARIO.replace("duration_s = 0.1", "duration_s = 600"))
    running = place.start(path)
    until(lambda: any(place.out.glob("pilot/trials/*/*.rows")) or running.poll() is not None)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()

    assert running.returncode == 130, err
    assert "interrupted in the pilot: nothing was measured" in err
    assert not (place.out / "plan.json").exists()
    assert not list((place.out / "trials").iterdir())
    assert place.leftovers() == []
