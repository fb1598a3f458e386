"""Each wrong scenario gives one line, which names the file, the key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.commands import source
from lab.errors import ScenarioError
from lab.scenario import parse
from tests.bad_scenarios import BAD, SECRET, Bad


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id.replace(" ", "-"))
def test_a_wrong_scenario_gives_one_line_with_file_key_and_what_is_allowed(bad: Bad, tmp_path: Path) -> None:
    path = bad.path(tmp_path)

    with pytest.raises(ScenarioError) as refused:
        parse(source.read(path), path.name, bad.overrides)

    message = str(refused.value)
    assert len(message.splitlines()) == 1
    assert bad.file in message
    for fragment in bad.fragments:
        assert fragment in message
    assert SECRET not in message
    assert len(message) < 700


def test_the_table_has_no_case_twice() -> None:
    assert len({bad.id for bad in BAD}) == len(BAD) >= 55


def test_several_problems_give_the_first_and_the_number_of_the_others() -> None:
    text = '[topology]\nprocesses = 0\nzzz = 1\n[context]\npolicy = "x"'

    with pytest.raises(ScenarioError, match=r"topology\.processes: .* \(and 2 more\)$"):
        parse(text, "several.toml")


def test_a_problem_that_every_arm_has_is_said_once_and_names_no_arm() -> None:
    text = '[topology]\nthreads = 2\n[[arm]]\nname = "a"\n[[arm]]\nname = "b"'

    with pytest.raises(ScenarioError) as refused:
        parse(text, "every.toml")

    assert str(refused.value).startswith("every.toml: topology.threads: 2 is not allowed")
    assert "more" not in str(refused.value)


def test_the_documented_message_is_the_message() -> None:
    with pytest.raises(ScenarioError) as refused:
        parse('[[arm]]\nname = "shared"\ncontext.policy = "sharde"', "file.toml")

    assert str(refused.value) == (
        'file.toml: arm "shared": context.policy: "sharde" is not allowed; '
        "use one of shared, per-process, reinit, broker"
    )


def test_control_characters_of_a_file_never_reach_the_terminal() -> None:
    with pytest.raises(ScenarioError) as refused:
        parse('"\\u001b[2J\\nx" = 1', "a\nb.toml")

    assert str(refused.value).isprintable()
