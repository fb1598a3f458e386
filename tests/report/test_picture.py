"""The picture says what the figures say: bars end where their labels do, axes fit, nothing lies over anything."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from lab.report.picture import bar_limit, caption, draw, log_axis, title
from tests.report.test_handshakes_shown import summary


def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: dict[str, Any], facts: Any) -> Figure:
    """The figure itself, as it was saved."""
    kept: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *given: Any, **options: Any) -> None:
        kept.append(figure)
        save(figure, *given, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    draw(found, facts, tmp_path / "overview.png")
    return kept[0]


def ends(figure: Figure, panel: int) -> float:
    """Where the last bar of a panel ends."""
    return max(patch.get_x() + patch.get_width() for patch in figure.axes[panel].patches)  # type: ignore[attr-defined]


def test_a_bar_of_the_cold_start_ends_at_its_label(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, facts = summary(1)
    (arm,) = found["arms"].values()
    assert sum(arm["cold_ms"][step] or 0 for step in arm["cold_ms"] if step != "total") < arm["cold_ms"]["total"]
    figure = drawn(monkeypatch, tmp_path, found, facts)
    assert ends(figure, 1) == pytest.approx(arm["cold_ms"]["total"])
    assert "between the steps" in figure.axes[1].get_legend_handles_labels()[1]


def test_a_dollar_in_the_question_is_a_dollar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, facts = summary(1)
    figure = drawn(monkeypatch, tmp_path, {**found, "question": "Is $5 less than $x_{1$?"}, facts)
    assert figure.get_suptitle() == "Is $5 less than $x_{1$?"


@pytest.mark.parametrize(
    ("lengths", "limit"),
    [
        ([], 0),
        ([0, 0], 0),
        ([5], 8),
        ([5, 0], 8),
        ([5, 4], 8),
        ([4, 16], 25.6),
        ([4, 16.1, 1], 6.4),
        ([1000, 10, 9], 16),
    ],
)
def test_a_bar_that_would_hide_the_others_is_cut(lengths: list[float], limit: float) -> None:
    assert bar_limit(lengths) == pytest.approx(limit)


def test_a_cut_bar_is_marked_and_its_figure_stands_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, facts = summary(3)
    found["arms"]["tls.bridge=1"]["cold_ms"]["total"] = 1013.0
    figure = drawn(monkeypatch, tmp_path, found, facts)
    axes = figure.axes[1]
    other = found["arms"]["tls.bridge=0"]["cold_ms"]["total"]
    assert axes.get_xlim() == (0, pytest.approx(1.6 * other))
    assert [line.get_marker() for line in axes.lines] == [">"]
    (text,) = [text for text in axes.texts if text.get_text().startswith("1013.0 ms")]
    assert text.get_position()[0] < axes.get_xlim()[1]
    assert text.get_horizontalalignment() == "right"


@pytest.mark.parametrize(
    "values", [[1.0, 1.1], [3.0], [0.1, 100.0], [0.11, 0.9], [1e-4, 1e6], [2.0, 240.0], [0.0005, 0.0006]]
)
def test_an_axis_of_times_spans_a_decade_and_has_two_to_eight_numbers(values: list[float]) -> None:
    low, high, ticks = log_axis(values)
    assert high >= 9.999 * low
    assert low < min(values) <= max(values) < high
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)


def test_a_caption_fits_into_its_panel() -> None:
    long = "CKR_CRYPTOKI_NOT_INITIALIZED (4 proc.), timed out after a while (4 proc.)"
    assert len(caption(long)) <= 48
    assert caption(long).endswith("…")
    assert caption("SIGSEGV (4 proc.)") == "SIGSEGV (4 proc.)"


def test_an_interrupted_or_invalid_run_says_so_in_the_title() -> None:
    run = {"question": "Why?", "scenario": "s", "valid": True, "partial": False}
    assert title(run) == "Why?"
    assert title(run | {"partial": True}) == "Why? (interrupted)"
    assert title(run | {"partial": True, "valid": False}) == "Why? (interrupted; invalid, do not rely on it)"


def test_a_panel_without_figures_has_no_axis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, _ = summary(0, outside=True)
    (arm,) = found["arms"].values()
    arm["ok"] = 0
    axes = drawn(monkeypatch, tmp_path, found, []).axes
    for panel in axes[1:]:
        assert (list(panel.get_xticks()), panel.get_xlabel(), panel.get_legend()) == ([], "", None)
    assert any(text.get_text() == "none ended well" for text in axes[2].texts)


@pytest.mark.parametrize("arms", [1, 2, 10])
def test_no_text_lies_over_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arms: int) -> None:
    figure = drawn(monkeypatch, tmp_path, *summary(arms))
    for axes in figure.axes:
        legend = axes.get_legend()
        assert isinstance(legend, Legend)
        below = legend.get_window_extent()
        assert below.y1 <= axes.xaxis.label.get_window_extent().y0
        numbers = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        shown = sorted(
            (box.x0, box.x1) for box in numbers if axes.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= axes.bbox.x1 + 1
        )
        assert all(left[1] < right[0] for left, right in pairwise(shown))
