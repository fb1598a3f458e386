"""Tokens by policy: a cell says what became of its arm, and says it in words."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab.report.token_grid import cells, draw, show, write_table


def arm(token: str, policy: str, ok: int = 100, **more: Any) -> dict[str, Any]:
    found = {
        "token": token,
        "over": None,
        "reset_on_fork": None,
        "context": policy,
        "workload": {"kind": "sign", "key": "ec-p256"},
        "planned": 100,
        "ok": ok,
        "fail": 100 - ok,
        "info": 0,
        "shed": 0,
        "failures": [],
        "rules": {"own-handles": {"verdict": "conforms"}, "sessions-closed": {"verdict": "violates"}},
        "nonces": None,
        "service_ms": {"p50": 0.1},
        "throughput_hz": 10.0,
        "cold_ms": {"total": 3.0},
        "processes": {"crashed": 0, "hung": 0, "pss_mib_p50": 5.0},
        "sessions": {"peak_total": 4},
    }
    return {**found, **more}


def summary(arms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"scenario": "s", "question": "", "valid": True, "arms": arms}


BROKEN = {"own-handles": {"verdict": "violates"}}
REFUSED = [
    {"layer": "pkcs11", "code": "CKR_GENERAL_ERROR", "count": 90},
    {"layer": "signal", "code": "SIGSEGV", "count": 1},
]
EVERY = summary(
    {
        "well": arm("softhsm", "per-process"),
        "rules": arm("softhsm", "shared", rules=BROKEN),
        "some": arm("tpm2", "shared", ok=10, failures=REFUSED),
        "none": arm("nss", "per-process", ok=0),
        "key": arm("nss", "shared", nonces={"proven": True}),
        "a real server's": arm("nss", "inherited"),
    }
)


def test_each_cell_has_the_state_of_its_arm() -> None:
    found = {cell.name: cell for cell in cells(EVERY)}
    assert {name: cell.state for name, cell in found.items()} == {name: name for name in found}
    assert len(found) == 5
    assert found["rules"].lines() == ["100 % ended well", "breaks own-handles"]
    assert found["some"].lines() == ["10 % ended well", "SIGSEGV"]
    assert found["key"].lines() == ["100 % ended well", "private key computed"]


@pytest.mark.parametrize(("ok", "shown"), [(0, "0 %"), (1, "1 %"), (100, "100 %"), (99, "99 %")])
def test_a_share_is_never_rounded_to_all_or_nothing(ok: int, shown: str) -> None:
    several = summary(
        {"a": arm("softhsm", "shared", ok=ok * 100, planned=10_000 if ok else 100), "b": arm("nss", "reinit")}
    )
    assert cells(several)[0].percent == shown
    nearly = summary({"a": arm("softhsm", "shared", ok=9_999, planned=10_000), "b": arm("nss", "reinit")})
    assert cells(nearly)[0].percent == "99 %"


@pytest.mark.parametrize(
    "arms",
    [
        {"a": arm("softhsm", "shared"), "b": arm("softhsm", "reinit")},
        {"a": arm("softhsm", "shared"), "b": arm("nss", "shared")},
        {"a": arm("softhsm", "shared"), "b": arm("softhsm", "shared"), "c": arm("nss", "reinit")},
    ],
)
def test_one_token_one_policy_and_two_arms_of_one_place_make_no_grid(
    arms: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    found = summary(arms)
    assert cells(found) == []
    write_table(found, tmp_path / "tokens.csv")
    assert not draw(found, tmp_path / "tokens.png")
    assert not list(tmp_path.iterdir())


def test_the_table_has_a_row_for_each_cell(tmp_path: Path) -> None:
    write_table(EVERY, tmp_path / "tokens.csv")
    rows = list(csv.DictReader((tmp_path / "tokens.csv").open()))
    assert [row["arm"] for row in rows] == [cell.name for cell in cells(EVERY)]
    assert [row["key_given_away"] for row in rows] == ["False"] * 4 + ["True"]
    assert rows[1]["rules"] == "own-handles"
    assert rows[2]["codes"] == "SIGSEGV CKR_GENERAL_ERROR"


def test_the_picture_says_in_words_what_its_colours_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    kept: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *given, **options: kept.append(figure))
    assert draw(EVERY, tmp_path / "tokens.png")
    (axes,) = kept[0].axes
    said = [text.get_text() for text in axes.texts]
    for cell in cells(EVERY):
        assert "\n".join(cell.lines()) in said
    assert [label.get_text() for label in axes.get_xticklabels()] == ["shared", "per-process"]
    assert len(axes.patches) == 5


def test_the_terminal_has_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVERY, Console(width=80))
    said = capsys.readouterr().out
    assert "100 %, key given away" in said
    assert "100 %, 1 broken" in said
