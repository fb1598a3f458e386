"""Handshakes as people see them: on the terminal, in the tables, in the picture."""

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
from lab.record.model import TrialRecord
from lab.report.picture import draw
from lab.report.tables import write_tables
from lab.report.terminal import show
from tests.handshake_trials import ARM, EXTERNAL, built, external, processes, trial
from tests.trial_builder import record


def summary(arms: int, mode: str = "open", outside: bool = False) -> tuple[dict[str, Any], list[TrialFacts]]:
    """Arms with their names' topologies; the last is a server that the lab did not start, where that is wanted."""
    load = {"mode": mode, "rate_hz": 100.0 if mode == "open" else None, "clients": None if mode == "open" else 8}
    names = [f"tls.bridge={number}" for number in range(arms)]
    given = [ARM | {"name": name, "load": load} for name in names]
    facts = [trial(300, arm=name, number=place, open_loop=mode == "open") for place, name in enumerate(names)]
    if outside:
        given.append(EXTERNAL | {"name": "outside", "load": load})
        facts.append(external(300, arm="outside", number=arms, open_loop=mode == "open"))
    resolved = arms_of({"arms": given})
    return summarise(
        "run", "scenario", "Where does the time go?", 7, resolved, {"where_ms.token.p50": 0.1}, facts
    ), facts


def shown(found: dict[str, Any], width: int) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=width, color_system=None))
    return out.getvalue()


@pytest.mark.parametrize("mode", ["open", "closed"])
@pytest.mark.parametrize("arms", [1, 2, 4, 5, 12])
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(arms: int, width: int, mode: str) -> None:
    text = shown(summary(arms, mode, outside=True)[0], width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_a_p99_that_no_arm_has_enough_handshakes_for_takes_no_line() -> None:
    found, _ = summary(2)
    for arm in found["arms"].values():
        for part in arm["where_ms"].values():
            part["p99"] = None
    assert "p99: late" not in shown(found, 100)
    assert "in all" in shown(found, 100)
    found["arms"]["tls.bridge=1"]["where_ms"]["token"]["p99"] = 2.5
    text = " ".join(shown(found, 100).split())
    assert "p99: token n/a 2.5" in text
    assert "p99: late" not in text


def test_a_reader_finds_where_the_time_went_and_who_connected() -> None:
    text = " ".join(shown(summary(1)[0], 100).split())
    for said in (
        "TLS version 1.3",
        "virtual hosts 2 by IP address",
        "bridge direct",
        "Where the time of a handshake went",
        "wait for accept 1.000",
        "token 2.000",
        "in all 6.000",
        "p99: late 2",
        "accepted by the server 301",
        "joined with their client 300 (100 %)",
        "strangers: no shared cipher, 1 time",
        "generator's CPU, busiest 25 %",
        "ended well for the client only 0",
        "TLS context, ms 6",
    ):
        assert said in text, said


def test_a_missing_partner_is_not_rounded_away() -> None:
    builder = built(20000)
    builder.rows_of_connections(1)[0]["random"] = 0
    facts = builder.examine(record(*processes(20000)))
    found = summarise("run", "scenario", "", 7, arms_of({"arms": [ARM]}), {}, [facts])
    assert "19,999 (99.99 %)" in shown(found, 100)


def test_a_closed_loop_of_handshakes_is_one_of_clients() -> None:
    text = shown(summary(2, "closed")[0], 100)
    assert "each client started the next operation at once" in text
    assert "clients 8" in text


def test_figures_of_a_server_that_the_lab_did_not_start_are_missing_and_said_to_be() -> None:
    text = shown(summary(1, outside=True)[0], 100)
    accepted = next(line for line in text.splitlines() if "accepted by the server" in line)
    assert accepted.split()[-1] == "n/a"


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_of_a_server_that_the_lab_did_not_start_only_what_clients_see_is_told(mode: str) -> None:
    text = shown(summary(0, mode, outside=True)[0], 100)
    for title in ("Arms", "Open loop" if mode == "open" else "Closed loop", "The generator of the load", "Failures"):
        assert f"\n{title}" in text
    for left_out in ("Connections", "accepted", "hosts", "context", "Rules", "sessions", "Where the time", "workers"):
        assert left_out not in text, left_out
    assert "generator's CPU, busiest" in text
    assert "server external" in " ".join(text.split())


def test_arms_of_servers_that_the_lab_did_not_start_have_no_rules_and_no_costs_beside_others() -> None:
    text = shown(summary(1, outside=True)[0], 100)
    assert "outside" not in text.split("What a context costs")[1].split("Failures")[0]
    assert "outside" not in text.split("Where the time")[1].split("Connections")[0]
    assert "outside" not in text.split("Rules of the standard")[1].split("Comparisons")[0]


def test_each_host_of_each_process_of_each_trial_has_a_row(tmp_path: Path) -> None:
    trials: list[tuple[TrialRecord, TrialFacts]] = []
    for number in (1, 2):
        one = record(*processes(10), number=number, block=number)
        builder = built(8)
        builder.handshake(2000, at=90, server=1)
        failed: dict[str, Any] = {"outcome": "fail", "layer": "network", "code": 104}
        builder.operation(9, 9, at=95, kind="handshake", **failed)
        builder.connection(9, "client", random=3000, operation=9, opened=95, ended=96, **failed)
        builder.connection(1, "server", random=3000, opened=95, ended=96, **failed)
        trials.append((one, builder.examine(one)))
    write_tables(tmp_path / "tables", trials)
    with (tmp_path / "tables" / "hosts.csv").open() as file:
        rows = list(csv.DictReader(file))
    places = [(row["trial"], row["process"], row["host"]) for row in rows]
    assert places == [(trial, process, host) for trial in "12" for process in "12" for host in "01"]
    assert (rows[0]["tls_context_ms"], rows[0]["handshakes"], rows[0]["token_calls"]) == ("3.0", "3", "6")
    with (tmp_path / "tables" / "failures.csv").open() as file:
        assert {row["side"] for row in csv.DictReader(file)} == {"client", "server"}
    with (tmp_path / "tables" / "processes.csv").open() as file:
        assert [row["cpu_share"] for row in csv.DictReader(file)][:3] == ["", "", "0.25"]


@pytest.mark.parametrize("arms", [1, 10])
def test_the_picture_of_handshakes_is_drawn(tmp_path: Path, arms: int) -> None:
    found, facts = summary(arms, outside=True)
    draw(found, facts, tmp_path / "overview.png")
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")
