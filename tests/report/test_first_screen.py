"""The first screen of a report: many arms in few sentences, and nothing left unsaid."""

from __future__ import annotations

from typing import Any

from lab.report.told import first_screen
from lab.report.told.sentences import few as few_of


def arm(ok: int, fail: int = 0, code: str = "CKR_X", wrong: int = 0) -> dict[str, Any]:
    failures = [{"layer": "pkcs11", "code": code, "count": fail, "processes": 2, "functions": {}}] if fail else []
    counts = {"planned": ok + fail, "ok": ok, "fail": fail, "info": 0, "shed": 0, "wrong": wrong}
    return {**counts, "failures": failures, "workload": {"kind": "sign"}, "rules": {}}


def test_arms_that_died_of_one_error_share_a_sentence() -> None:
    arms = {"a": arm(5), "b": arm(0, 7), "c": arm(0, 3), "d": arm(0, 2, "CKR_Y"), "e": arm(4, 1)}
    assert [line.replace("\\", "") for line in first_screen._outcomes(arms)] == [
        "a: all 5 signatures ended well.",
        "b, c: **none** of 10 signatures ended well, mostly for CKR_X.",
        "d: **none** of 2 signatures ended well: CKR_Y, 2 times in 2 processes.",
        "e: 4 of 5 signatures ended well: CKR_X, 1 time in 2 processes.",
    ]


def test_a_wrong_signature_is_said() -> None:
    assert "1 signature wrong" in first_screen._outcomes({"a": {**arm(4, 1), "wrong": 1}})[0]


def test_comparisons_that_are_open_for_one_reason_share_a_sentence() -> None:
    few = "1 block with this figure in both arms, 6 are needed"
    one = {"metric": "service_ms.p50", "arm": "b", "baseline": "a", "ratio": None, "ci": None, "margin": 0.1}
    found = [{**one, "verdict": "inconclusive", "because": few, "blocks_to_decide": None}] * 3
    assert first_screen._open(found) == [f"3 comparisons are not decided: {few}."]
    assert len(first_screen._open([*found[:1], {**found[0], "because": "the generator was late"}])) == 2


def test_what_is_left_out_is_counted() -> None:
    assert few_of(["x"] * 10, "arm") == [*["x"] * 8, "and 2 more arms, see below."]
    assert few_of(["x"] * 9, "arm") == [*["x"] * 8, "and 1 more arm, see below."]
