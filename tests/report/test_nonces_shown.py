"""Repeated nonces on the terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from lab.report import nonces

GIVEN_AWAY = {
    "signatures": 1_200, "repeated": 1_100, "processes": 4, "of": 4, "proven": True, "evidence": "trial 2, the private",
}  # fmt: skip


def shown(**arms: dict[str, Any] | None) -> str:
    console = Console(file=StringIO(), width=200)
    nonces.show({name: {"nonces": found} for name, found in arms.items()}, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_key_that_is_given_away_is_said_first_and_plainly() -> None:
    text = shown(shared=GIVEN_AWAY)
    assert text.splitlines()[1].strip() == "Private keys that were given away"
    assert (
        "- shared: whoever sees two signatures has the private key: 1,100 of 1,200 signatures repeat a nonce,"
        " 4 of 4 children affected" in text
    )
    assert "trial 2, the private" in text


def test_what_is_only_suspected_does_not_look_like_a_proof() -> None:
    text = shown(shared=GIVEN_AWAY | {"proven": False})
    assert "private keys that were given away" not in text.lower()
    assert "no private key could be computed from them" in text


def test_of_a_server_without_known_children_none_are_counted() -> None:
    assert "affected" not in shown(outside=GIVEN_AWAY | {"of": 0, "processes": 0})


def test_nothing_is_said_where_nothing_repeats() -> None:
    assert shown(a=GIVEN_AWAY | {"repeated": 0, "proven": False}, b=None) == ""


def test_a_summary_of_an_earlier_version_has_no_such_part() -> None:
    console = Console(file=StringIO())
    nonces.show({"a": {}}, console)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == ""
