"""--dry-run says what would run, on a terminal of 80 columns too."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lab.commands import describe, source
from lab.scenario import parse

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*.toml"))


def described(text: str, width: int = 160) -> str:
    scenario = parse(text, "x.toml")
    output = io.StringIO()
    Console(file=output, width=width).print(describe.plan(scenario))
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


def test_blocks_that_a_pilot_chooses_are_said_with_their_bounds() -> None:
    text = described(
        'blocks = "auto"\n[load]\nwarmup_s = 1\nduration_s = 2\n[[arm]]\nname = "own"\n[[arm]]\nname = "old"'
    )

    assert "a pilot of 4 blocks of 2 chooses the number of blocks, from 6 to 60, before the 12 to 120" in text
    assert "at least 75 s" in text  # ten blocks
    assert "too few" not in text


def test_the_null_workload_has_no_context_to_show() -> None:
    assert "null  prefork 4  -       -        -        null" in described('workload.kind = "null"')


def test_the_tls_of_an_arm_is_said_with_its_bridge_hosts_tickets_and_clients() -> None:
    text = described(
        '[workload]\nkind = "handshake"\n[[arm]]\nname = "a"\n'
        'tls = { vhosts = 4, vhost_by = "ip", resumption = "shared" }\n'
        'load = { mode = "closed", clients = 12, generators = 2, intruders.silent = 5 }\n'
        "topology.connections_per_child = 100\n"
        '[[arm]]\nname = "b"\ntls = { server = "external", host = "www.example", port = 443 }',
        width=250,
    )

    for part in (
        "1.3 ecdhe direct, 4 hosts by ip, tickets shared",
        "closed, 12 clients of 2 generators, 5 silent",
        "prefork 4, 100 connections per child",
        "1.3 at www.example port 443",
    ):
        assert part in text


def test_a_real_server_is_said_with_what_happens_to_it_and_its_policy_is_its_library_s() -> None:
    text = described(
        '[workload]\nkind = "handshake"\n'
        '[[arm]]\nname = "a"\ntls.server = "httpd"\ntopology = { kind = "event", processes = 3 }\n'
        'server = { foreground = false, reload_at_s = 2, kill_at_s = 3.5 }\ncontext.locking = "os"\n'
        '[[arm]]\nname = "b"\ntls = { server = "nginx", bridge = "provider", bridge_library = "/opt/p.so" }\n'
        'server = { user = "nobody", env_lines = false }\n'
        '[[arm]]\nname = "c"\ntls.server = "lab"',
        width=250,
    )
    rows = {line.split()[0]: line for line in text.splitlines() if line[:2] in ("a ", "b ", "c ")}

    for part in (
        "event 3 x 4 threads",
        "by its library",
        "os",
        "httpd as www-data, daemon, reload at 2 s, kill at 3.5 s",
    ):
        assert part in rows["a"]
    for part in ("event 4", "by its library", "1.3 ecdhe provider of /opt/p.so", "nginx as nobody, no env lines"):
        assert part in rows["b"]
    assert rows["c"].split()[3:6] == ["per-process", "per-thread", "os"]
    assert "as www-data" not in rows["c"]


def test_without_a_real_server_there_is_no_column_of_them() -> None:
    assert "server" not in described('workload.kind = "handshake"')


def test_brackets_in_a_question_are_text() -> None:
    assert "[bold]Why?[/bold]" in described('question = "[bold]Why?[/bold]"')


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_names_and_values_of_arms_are_whole_at_80_columns(path: Path) -> None:
    text = source.read(path)
    shown = described(text, width=80).split("\n\n")[1].replace(";", " ").replace(":", " ").replace(",", " ").split()

    for arm in parse(text, path.name).arms:
        assert arm.name in shown
        assert arm.topology is None or arm.topology.fork_point in ("idle", *shown)
        if arm.context:
            assert {arm.context.policy, arm.context.session} - {None} <= {*shown}


def test_what_all_arms_share_is_said_once_and_what_differs_is_a_column() -> None:
    text = described('blocks = 1\n[[arm]]\nname = "a"\n[[arm]]\nname = "b"\ncontext.policy = "reinit"', width=80)

    assert "in every arm: topology prefork 4; session per-thread;" in text
    assert [line.split() for line in text.splitlines() if line[:2] in ("ar", "a ", "b ")] == [
        ["arm", "policy"],
        ["a", "per-process"],
        ["b", "reinit"],
    ]
    assert "1 block of 2 = 2 trials" in text


def test_arms_that_do_not_fit_in_a_table_have_a_paragraph_each() -> None:
    first, second = "x" * 40, "y" * 40
    other = 'topology.fork_point = "mid-operation"\ncontext.policy = "reinit"\nworkload.key = "rsa-2048"'
    text = described(f'[[arm]]\nname = "{first}"\n[[arm]]\nname = "{second}"\n{other}', width=80)

    assert max(len(line) for line in text.splitlines()) <= 80
    assert f"  {first}: topology prefork 4; policy" in text
    assert f"  {second}: topology prefork 4, fork" in text
    assert "fork mid-operation; policy reinit; workload sign rsa-2048" in " ".join(text.split())


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_scenario_is_to_take_about_a_minute_at_most_and_fits_80_columns(path: Path) -> None:
    text = source.read(path)

    assert describe.minimum_s(parse(text, path.name)) < 70
    assert max(len(line) for line in described(text, width=80).splitlines()) <= 80
