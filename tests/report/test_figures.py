"""The figures: they show what the run carries, say what they show, and are told apart without colour."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lab
from lab.report.figures import capacity, cost, failures, latency, outcomes, overview, rules, sessions
from lab.report.figures.drawing import LOOKS, Picture, Sentence, log_axis, panels, picture, wrapped
from lab.report.loaded import Run
from tests.sealed_run import SCENARIO, write_run

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
HUNG = {"layer": "hang", "code": "hung in C_Initialize", "count": 48, "processes": 48, "functions": {}, "side": None}


@pytest.fixture(scope="module")
def reference() -> Run:
    return lab.load(REFERENCE)


def drawn(shown: object) -> Picture:
    assert isinstance(shown, Picture), shown
    return shown


def one(shown: object) -> Picture:
    assert isinstance(shown, list)
    return drawn(shown[0])


def values(lines: Iterable[Any]) -> list[float]:
    return [float(value) for line in lines for value in line.get_xdata()]


def sized(folder: Path, limit: int | None = None) -> Run:
    """A run whose arms differ in the number of processes, and in nothing else."""
    write_run(folder, trials=4)
    arms = [{**SCENARIO["arms"][0], "name": f"p{n}"} for n in (1, 2)]
    for number, arm in enumerate(arms, start=1):
        arm["topology"] = {"kind": "prefork", "processes": number, "threads": 1}
    (folder / "scenario.json").write_text(json.dumps({**SCENARIO, "arms": arms}))
    tokens = [{"kind": "softhsm", "max_sessions": limit}]
    (folder / "manifest.json").write_text(json.dumps({"tokens": tokens}))
    for place in sorted((folder / "trials").iterdir()):
        record = json.loads((place / "trial.json").read_text())
        record["arm"] = arms[record["number"] % 2]["name"]
        (place / "trial.json").write_text(json.dumps(record))
    return lab.load(folder)


def test_every_axis_says_what_it_is_and_in_which_unit(reference: Run) -> None:
    shown: list[Any] = [
        *(latency.trials(reference), *latency.distributions(reference), cost.of_a_context(reference)),
        *(sessions.over_time(reference), sessions.peaks(reference), failures.by_code(reference)),
        *(failures.by_process(reference), overview.overview(reference)),
    ]
    units = ("ms", "%", "MiB", "sessions", "times", "operations", "1/(1-p)")
    for figure in shown:
        assert drawn(figure).says
        for axes in (axes for axes in figure.axes if axes.get_visible()):
            assert any(unit in axes.get_xlabel() for unit in units), (figure.name, axes.get_title())


def test_each_trial_is_a_dot_at_its_own_figure(reference: Run) -> None:
    frame = reference.trials
    first, second = drawn(latency.trials(reference)).axes
    for axes, metric in ((first, "response_ms.p50"), (second, "response_ms.p99")):
        expected = frame.loc[frame["arm"] != "shared", metric].dropna()
        dots = [line for line in axes.get_lines() if line.get_color() != "black"]
        assert sorted(values(dots)) == pytest.approx(sorted(expected))
        lines = [line for line in axes.get_lines() if (line.get_color(), line.get_linewidth()) == ("black", 1.6)]
        quantile = metric.partition(".")[2]
        own = [reference.summary["arms"][name]["ci"]["response_ms"][quantile] for name in ("per-process", "reinit")]
        assert [values([line]) for line in lines] == [ends for ends in own if ends is not None]
        assert (None in own) == (quantile == "p99")  # which this run has too few operations for


def test_the_interval_of_an_arm_is_drawn_where_the_summary_has_one() -> None:
    arm = {"ci": {"response_ms": {"p50": [1.0, 2.0], "p99": None}, "throughput_hz": [3, 4]}}
    assert latency.interval_of(arm, "response_ms.p50") == (1.0, 2.0)
    assert latency.interval_of(arm, "throughput_hz") == (3.0, 4.0)
    assert latency.interval_of(arm, "response_ms.p99") is None
    assert latency.interval_of({}, "throughput_hz") is None
    assert latency.interval_of({}, "response_ms.p50") is None


def test_a_spectrum_is_made_of_quantiles_and_ends_where_too_few_operations_support_it(reference: Run) -> None:
    frame = reference.operations
    mine = frame[(frame["arm"] == "reinit") & (frame["phase"] == "measured") & (frame["outcome"] == "ok")]
    took = mine["response_ms"].to_numpy()
    _, spectrum, ecdf = one(latency.distributions(reference)).axes
    (line,) = [
        line for line in spectrum.get_lines() if line.get_linewidth() > 1 and line.get_color() == LOOKS[2].colour
    ]
    inverse, quantiles = (np.asarray(part, dtype=float) for part in line.get_data())
    assert inverse.max() <= took.size / 3
    for p in (0.5, 0.9, 0.99):
        place = int(np.argmin(abs(inverse - 1 / (1 - p))))
        around = np.quantile(took, [p - 0.02 * (1 - p), min(1, p + 0.02 * (1 - p))], method="inverted_cdf")
        assert around[0] * 0.97 <= quantiles[place] <= around[1] * 1.03
    tops = [max(np.asarray(line.get_ydata(), dtype=float)) for line in ecdf.get_lines()]
    assert tops == pytest.approx([100.0, 100.0])


def test_the_share_that_ended_well_is_never_rounded_to_all_or_nothing() -> None:
    assert outcomes.percent(0, 0) == "none begun"
    assert outcomes.percent(0, 10_000) == "none ok"
    assert outcomes.percent(1, 10_000) == "0.1 % ok"
    assert outcomes.percent(9_999, 10_000) == "99.9 % ok"
    assert outcomes.percent(10_000, 10_000) == "all ok"


def test_a_broken_rule_is_shown_as_the_calls_around_the_one_that_broke_it(reference: Run) -> None:
    assert rules.broken(reference) == [("shared", "initialize-per-process"), ("shared", "own-handles")]
    shown = drawn(rules.timeline(reference, "shared", "own-handles"))
    texts = [(text.get_text(), text.get_fontweight()) for text in shown.axes[0].texts]
    assert [text for text, weight in texts if weight == "bold"] == ["C_SignInit, s 1 → CKR_CRYPTOKI_NOT_INITIALIZED"]
    assert "C_OpenSession, s 1" in [text for text, _ in texts], "where the handle came from"
    columns = [label.get_text() for label in shown.axes[0].get_xticklabels()]
    assert columns[0].startswith("trial root (pid ")
    assert columns[1].startswith("process 1 (pid ")
    assert "which this process had not obtained itself" in shown.axes[0].get_xlabel().replace("\n", " ")


def test_two_signatures_with_one_nonce_are_both_marked() -> None:
    evidence = (
        "process 1 (operation 0, 28.171 ms before release) and process 2 (operation 3, 5.5 ms after release) signed"
    )
    import pandas as pd

    case = {"evidence": evidence, "at_ms": -28.171, "rule": "unique-randomness"}
    assert rules._points(case, pd.DataFrame()) == [(1, -28.171), (2, 5.5)]


def test_capacity_needs_arms_that_differ_in_size_only(tmp_path: Path, reference: Run) -> None:
    assert "one size of each only" in str(capacity.against_size(reference))
    throughput, _ = drawn(capacity.against_size(sized(tmp_path / "run"))).axes
    assert [label.get_text() for label in throughput.get_xticklabels()] == ["1", "2"]
    assert throughput.get_xlabel() == "processes"
    dots = [line for line in throughput.get_lines() if line.get_linestyle() == "None"]
    assert sorted(values(dots)) == [1, 1, 2, 2]


def test_a_token_s_limit_is_drawn_and_told(tmp_path: Path, reference: Run) -> None:
    assert sessions.limit_of(reference, "shared") is None
    limited = sized(tmp_path / "run", limit=3)
    assert sessions.limit_of(limited, "p1") == 3
    said = [text.get_text().strip() for text in drawn(sessions.peaks(limited)).axes[0].texts]
    assert said == ["limit 3", "limit 3"]


def test_a_run_without_failures_says_so(tmp_path: Path) -> None:
    run = lab.load(write_run(tmp_path / "run"))
    assert failures.by_code(run) == failures.by_process(run) == "Nothing failed in this run."
    assert isinstance(overview.tokens(run), Sentence)


def hung(run: Run) -> Run:
    """The same where all workers of the arm `shared` hung in C_Initialize, before any operation was begun."""
    arm = run.summary["arms"]["shared"]
    arm.update(planned=0, ok=0, fail=0, failures=[HUNG])
    arm["cold_ms"]["finalize"] = 6.8
    return run


def test_an_arm_that_hung_before_its_first_operation_stands_beside_the_latency_of_others() -> None:
    (shown,) = latency.distributions(hung(lab.load(REFERENCE)))
    left = shown.figure.axes[0]
    assert "shared" in [label.get_text() for label in left.get_yticklabels()]
    assert "none begun" in [text.get_text() for text in left.texts]


def test_a_cold_start_that_never_ended_has_no_length() -> None:
    run = hung(lab.load(REFERENCE))
    for shown in (cost.of_a_context(run), overview.overview(run)):
        texts = [text.get_text() for axes in drawn(shown).figure.axes for text in axes.texts]
        assert [text for text in texts if "not finished" in text]
        assert not [text for text in texts if "nothing of its own" in text or text.startswith("6.8 ms")]


def test_a_trial_in_which_nothing_was_done_has_its_dot_at_zero(tmp_path: Path) -> None:
    run = lab.load(write_run(tmp_path / "run"))
    for arm in run.summary["arms"].values():
        arm["load"] = {"mode": "closed"}
    run.trials.loc[0, "throughput_hz"] = 0.0
    axes = drawn(latency.trials(run)).figure.axes[-1]
    assert 0.0 in values(axes.lines)
    assert axes.get_xscale() == "linear"


def test_lines_are_told_apart_without_colour() -> None:
    assert len({look.marker for look in LOOKS}) == len({str(look.dash) for look in LOOKS}) == len(LOOKS)
    assert len({look.hatch for look in LOOKS}) == len({look.colour for look in LOOKS}) == len(LOOKS)


def test_a_figure_gives_the_same_bytes_each_time_and_shows_itself_in_a_notebook(reference: Run) -> None:
    for kind in ("png", "svg"):
        assert drawn(latency.trials(reference)).as_bytes(kind) == drawn(latency.trials(reference)).as_bytes(kind)
    assert drawn(latency.trials(reference))._repr_png_().startswith(b"\x89PNG")
    assert '<img alt="' in rules.timelines(reference, most=1)._repr_html_()


def test_what_hardly_differs_is_shown_on_a_decade() -> None:
    axes = panels(picture("x", "", 2), 1, 1)[0, 0]
    log_axis(axes.xaxis, [1.0, 1.01])
    low, high = axes.get_xlim()
    assert high / low == pytest.approx(10)


def test_a_long_name_breaks_between_its_parts() -> None:
    assert wrapped("softhsm-reset per-process") == "softhsm-reset per-\nprocess"
    assert wrapped("short") == "short"


def test_rules_that_one_call_broke_are_one_picture(reference: Run) -> None:
    (shown,) = rules.timelines(reference)
    assert "initialize-per-process and own-handles" in drawn(shown).says
    below = drawn(shown).axes[0].get_xlabel().replace("\n", " ")
    assert below.count("C_SignInit, which answered CKR_CRYPTOKI_NOT_INITIALIZED") == 1
    assert "and used session handle 1, which this process had not obtained itself" in below
