"""--dry-run says what would run, on a terminal of 80 columns too."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lab.commands import describe, source
from lab.plan import make
from lab.scenario import parse

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*.toml"))


def described(text: str, width: int = 160) -> str:
    scenario = parse(text, "x.toml")
    output = io.StringIO()
    Console(file=output, width=width).print(describe.plan(scenario, make(scenario)))
    return output.getvalue()


def test_the_plan_says_question_arms_blocks_trials_duration_and_first_order() -> None:
    text = described(
        'question = "Why?"\nblocks = 6\n[load]\nwarmup_s = 1\nduration_s = 2\n'
        '[[arm]]\nname = "own"\n[[arm]]\nname = "old"\ncontext = { policy = "shared", inherit = "context" }'
    )

    for part in ("Why?", "6 blocks of 2 = 12 trials", "at least 45 s", "first block: o", "shared (own sessions)"):
        assert part in text
    assert "prefork 4" in text
    assert "100 Hz poisson, 1 + 2 s" in text


def test_the_null_workload_has_no_context_to_show() -> None:
    assert "null  prefork 4  -       -        -        null" in described('workload.kind = "null"')


def test_brackets_in_a_question_are_text() -> None:
    assert "[bold]Why?[/bold]" in described('question = "[bold]Why?[/bold]"')


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_scenario_is_to_take_under_a_minute_and_fits_80_columns(path: Path) -> None:
    text = source.read(path)

    assert describe.minimum_s(parse(text, path.name)) < 60
    assert max(len(line) for line in described(text, width=80).splitlines()) <= 80
