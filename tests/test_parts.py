"""The parts in which workers get the tests (conftest.py): none is torn that shares a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import LONGEST_FIRST, NOTHING_SHARED, ONE_RUN_EACH, part_of

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("module", sorted({*LONGEST_FIRST, *NOTHING_SHARED, *ONE_RUN_EACH}))
def test_a_module_of_the_tables_is_there(module: str) -> None:
    assert (ROOT / module).is_file()


@pytest.mark.parametrize("module", NOTHING_SHARED)
def test_a_module_whose_tests_are_apart_has_no_fixture_of_its_own_that_they_share(module: str) -> None:
    assert 'scope="' not in (ROOT / module).read_text()


@pytest.mark.parametrize("module", ONE_RUN_EACH)
def test_all_tests_of_a_run_that_its_parameter_has_are_one_part(module: str) -> None:
    one, other, next_one = (f"{module}::{test}" for test in ("test_a[x-y]", "test_b[x-y]", "test_a[x]"))
    assert part_of(one) == part_of(other) != part_of(next_one)
    assert (ROOT / module).read_text().count('scope="module", params=') == 1


def test_any_other_module_is_one_part() -> None:
    assert part_of("tests/test_docs.py::test_a[x]") == part_of("tests/test_docs.py::test_b") == "tests/test_docs.py"
