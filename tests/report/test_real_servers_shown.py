"""Real servers as people see them: on the terminal, in the tables, in the picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab.analysis.arms import arms_of
from lab.analysis.facts import TrialFacts
from lab.analysis.summary import summarise
from lab.report import over_time
from lab.report.picture import draw
from lab.report.tables import write_tables
from lab.report.terminal import show
from tests.handshake_trials import ARM, trial
from tests.server_trials import HTTPD, child, forked, master, opened, reloaded, server_trial
from tests.trial_builder import TrialBuilder, record, worker


def summary(*facts: TrialFacts, **of_arm: Any) -> dict[str, Any]:
    names = dict.fromkeys(one.arm for one in facts)
    arms = arms_of({"arms": [HTTPD | {"name": name} | of_arm for name in names]})
    return summarise("run", "scenario", "What does a reload do?", 7, arms, {}, facts)


def shown(found: dict[str, Any], width: int = 100) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def said(found: dict[str, Any], width: int = 100) -> str:
    return " ".join(shown(found, width).split())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("arms", [1, 2, 5])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(arms: int, width: int) -> None:
    facts = [reloaded(f"topology.kind={number}", number, kill=number % 2 == 0)[1] for number in range(1, arms + 1)]
    text = shown(summary(*facts), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_a_reader_finds_what_the_context_amounted_to() -> None:
    facts = forked(TrialBuilder(), 2, 3).examine(server_trial(master(), child(2), child(3)))
    text = said(summary(facts, server={"foreground": False, "reload_at_s": 2.5}))
    for words in (
        "context policy re-initialised lazily",
        "foreground no",
        "reload at 2.5 s",
        "What the context of a real server amounted to",
        "server Apache/2.4.62 (Debian)",
        "master 1 own",
        "workers 2 re-initialised",
        "contexts made 3",
        "logins 3",
        "sessions, median / most 1 / 1",
        "start until it listens, ms 100",
    ):
        assert words in text
    assert "Known causes" not in text
    assert "Restarts" not in text


def test_a_reader_finds_what_a_reload_did() -> None:
    text = said(summary(reloaded()[1]))
    for words in (
        "1 reload: workers 4 before, 7 at most; 4 of 4 old ones left during the load, after 91 ms (at most 181)",
        "handshakes that failed: 0 of 150 before, 5 of 19 within, 0 of 131 after the reload (it took 181 ms)",
        "4 new workers, of which 4 served; first handshake done",
    ):
        assert words in text


def test_a_reader_finds_what_a_kill_did() -> None:
    text = said(summary(reloaded(kill=True)[1]))
    assert "1 worker killed: 1 replaced, first handshake of the new one" in text
    assert "5 handshakes failed meanwhile" in text


def test_causes_are_shown_with_their_evidence_whatever_the_server() -> None:
    builder = opened(TrialBuilder()).call("C_SignInit", 2, at=20, session=5, key=7, ckr=0xB3)
    text = said(summary(builder.examine(server_trial(master(), child(2)))))
    assert "Known causes, found in the calls" in text
    assert "inherited-handle: 1 process used an inherited handle" in text
    assert "answered CKR_SESSION_HANDLE_INVALID to 1" in text
    lab = TrialBuilder().call("C_SignInit", 1, at=20, session=5, key=7).examine(record(worker(1)))
    arms = arms_of({"arms": [ARM]})
    assert "inherited-handle: 1 process" in said(summarise("run", "scenario", "", 7, arms, {}, [lab]))


def test_an_arm_of_the_labs_own_server_has_no_such_tables() -> None:
    text = said(summarise("run", "scenario", "", 7, arms_of({"arms": [ARM]}), {}, [trial()]))
    assert "amounted to" not in text


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_tables_have_each_process_each_new_worker_and_each_cause(tmp_path: Path) -> None:
    builder = opened(TrialBuilder()).call("C_SignInit", 2, at=20, session=5, key=7, ckr=0xB3)
    refused = server_trial(master(), child(2), number=2)
    write_tables(tmp_path / "tables", [reloaded(), (refused, builder.examine(refused))])
    servers = rows(tmp_path / "tables" / "servers.csv")
    assert [row["process"] for row in servers] == ["1", *map(str, (10, 11, 12, 13, 50, 51, 52, 53)), "1", "2"]
    assert (servers[1]["policy"], servers[1]["born_ms"], servers[1]["gone_ms"]) == ("re-initialised", "-50.0", "1501.0")
    assert servers[-1]["policy"] == "refused"
    assert [row["born_ms"] for row in rows(tmp_path / "tables" / "children.csv")] == [
        "1540.0", "1545.0", "1550.0", "1555.0",
    ]  # fmt: skip
    assert [(row["trial"], row["cause"], row["count"]) for row in rows(tmp_path / "tables" / "causes.csv")] == [
        ("2", "inherited-handle", "1")
    ]


def test_runs_without_a_real_server_have_none_of_these_tables(tmp_path: Path) -> None:
    plain = record(worker(1))
    write_tables(tmp_path / "tables", [(plain, TrialBuilder().begin().end().examine(plain))])
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        *("trials.csv", "processes.csv", "failures.csv", "sessions.csv")
    }


def test_the_picture_has_a_panel_over_time_where_something_changed(tmp_path: Path) -> None:
    changed = [reloaded("reload", 1)[1], reloaded("kill", 2, kill=True)[1], reloaded("reload", 3)[1]]
    assert [(arm, number) for arm, number, _ in over_time.shown(changed)] == [("reload", 1), ("kill", 2)]
    calm = forked(TrialBuilder(), 2, 3).examine(server_trial(master(), child(2), child(3), arm="reload"))
    assert [arm for arm, _, _ in over_time.shown(changed, ["kill", "reload"])] == ["kill", "reload"]
    assert over_time.shown([calm, trial()]) == []
    for name, facts in (("changed", changed), ("calm", [calm])):
        draw(summary(*facts), facts, tmp_path / f"{name}.png")
    tall, flat = ((tmp_path / f"{name}.png").stat().st_size for name in ("changed", "calm"))
    assert tall > flat


def test_an_interrupted_trial_is_drawn_only_where_there_is_no_other() -> None:
    cut = reloaded("reload", 1)
    partial = TrialBuilder().examine(server_trial(master(), server={"reload_ns": 5.0}, arm="reload", partial=True))
    assert [number for _, number, _ in over_time.shown([partial, reloaded("reload", 2)[1]])] == [2]
    assert [number for _, number, _ in over_time.shown([partial])] == [1]
    assert cut[1].usable
