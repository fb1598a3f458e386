"""What a child shares with its parent, on a module that has a connection: p11-kit's client."""

from __future__ import annotations

from pathlib import Path

from lab.scenario import Token
from lab.tokens.kinds import open_token
from tests.probe.conftest import KEY, bed_of, examined


def test_a_socket_that_outlives_the_childs_own_initialize_is_told(tmp_path: Path) -> None:
    token = open_token(Token.model_validate({"kind": "p11kit-remote"}))
    made = token.prepare(frozenset({KEY}), tmp_path / "golden")
    try:
        table, seen = examined(bed_of(token, made), tmp_path, {"shared-descriptors"})
    finally:
        token.retire()
    line, facts = table["shared-descriptors"], seen["descriptors"].facts

    assert line.verdict == "undefined"
    assert "one connection" in line.seen
    assert "1 of 1 are the same still" in line.seen
    assert [facts[f"opened {number}"]["kind"] for number in facts["child has"]] == ["socket"]
    assert str(tmp_path) not in str(facts)
