"""The first screen of a report: many arms in few sentences, and nothing left unsaid."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lab.report import words
from lab.report.terminal import failure
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


def test_a_verdict_names_its_metric_before_its_figures() -> None:
    found = {"metric": "cold_ms.initialize", "arm": "b", "baseline": "a", "ratio": 0.12, "ci": [0.0699, 0.21]}
    what, figures = words.verdict({**found, "margin": 0.1, "verdict": "faster", "because": None})
    assert what == "b is faster than a in cold start initialize"
    assert figures == "b / a = 0.12 [0.07, 0.21]: faster at a margin of 10 %"


def test_what_ended_processes_is_said_in_sentences() -> None:
    one = {"count": 4, "processes": 4, "functions": {"C_Initialize": 4}}
    assert failure({**one, "layer": "hang", "code": "hung in C_Initialize"}) == "4 processes hung in C_Initialize"
    assert failure({**one, "layer": "exit", "code": "exit status 3"}) == "4 processes ended: exit status 3"


def test_what_was_asked_is_said_for_who_does_not_know_the_words() -> None:
    workload = {"kind": "sign", "key": "ec-p256", "mechanism": "ECDSA"}
    one = {"topology": {"kind": "prefork", "processes": 4, "threads": 1}, "workload": workload}
    one["load"] = {"mode": "open", "rate_hz": 450.0}
    arms = {"x": {**one, "context": "shared"}, "y": {**one, "context": "reinit"}}
    does, who = first_screen.asked(SimpleNamespace(summary={"arms": arms}))  # type: ignore[arg-type]
    assert "each makes signatures (ec-p256 ECDSA) 450 a second, at times that were planned (open loop)" in does
    assert who.endswith("shared: children use what their parent made; reinit: each child reloads its parent's.")


def test_names_in_a_row_end_with_and() -> None:
    assert [words.both(list(parts)) for parts in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
