"""Closed loops at full speed through the whole lab: they must not outrun the rows that were reserved for them."""

from __future__ import annotations

import json

import pytest

from tests.runs import Place

TOKEN = '[token]\nkind = "softhsm"\n[context]\npolicy = "per-process"\n'


@pytest.mark.parametrize(("kind", "token"), [("null", ""), ("random", TOKEN), ("session-churn", TOKEN)])
def test_a_closed_loop_at_full_speed_loses_no_row(place: Place, kind: str, token: str) -> None:
    scenario = place.folder / "full-speed.toml"
    scenario.write_text(
        f'blocks = 1\n{token}[topology]\nkind = "prefork"\nprocesses = 2\n[workload]\nkind = "{kind}"\n'
        '[load]\nmode = "closed"\nwarmup_s = 0.0\nduration_s = 0.2\n'
    )
    done = place.run(scenario, "--quiet")
    assert done.returncode == 0, done.stderr

    summary = place.summary()
    (arm,) = summary["arms"].values()
    assert (summary["valid"], summary["invalid_because"]) == (True, [])
    assert arm["planned"] == arm["ok"] > 0

    trial = json.loads(next((place.out / "trials").glob("*/trial.json")).read_text())
    assert trial["noise"]["sleeps"] > 0
    assert trial["noise"]["late_p50_ns"] <= trial["noise"]["late_p99_ns"] <= trial["noise"]["late_max_ns"]
    assert [process["involuntary"] is not None for process in trial["processes"]] == [False, True, True]
