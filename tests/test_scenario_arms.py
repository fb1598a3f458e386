"""What becomes of arms, of a matrix and of overrides."""

from __future__ import annotations

import pytest

from lab.scenario import parse
from tests.test_scenario import only_arm


def test_an_arm_overrides_keys_of_the_tables_and_leaves_the_others() -> None:
    text = """
        topology = { kind = "worker", processes = 2, threads = 3 }
        [[arm]]
        name = "dotted"
        topology.processes = 5
        timeout_s = 20
        [[arm]]
        name = "as a table"
        topology = { threads = 7 }
    """
    dotted, table = parse(text, "x.toml").arms

    assert (dotted.name, dotted.topology.processes, dotted.topology.threads) == ("dotted", 5, 3)
    assert (table.name, table.topology.processes, table.topology.threads) == ("as a table", 2, 7)
    assert (dotted.timeout_s, table.timeout_s) == (20, 16.2)


def test_a_matrix_makes_an_arm_of_every_combination() -> None:
    text = """
        [matrix]
        "topology.processes" = [1, 2]
        context.policy = ["shared", "reinit"]
    """
    arms = parse(text, "x.toml").arms

    assert [arm.name for arm in arms] == [
        "processes=1 policy=shared",
        "processes=1 policy=reinit",
        "processes=2 policy=shared",
        "processes=2 policy=reinit",
    ]
    assert [arm.topology.processes for arm in arms] == [1, 1, 2, 2]


def test_a_matrix_crosses_with_the_arms() -> None:
    text = '[[arm]]\nname = "shared"\ncontext.policy = "shared"\n[[arm]]\nname = "own"\n[matrix]\nload.rate_hz = [0.5]'
    shared, own = parse(text, "x.toml").arms

    assert (shared.name, own.name) == ("shared rate_hz=0.5", "own rate_hz=0.5")
    assert shared.context is not None
    assert shared.context.policy == "shared"


def test_two_keys_that_end_alike_give_names_with_the_whole_key() -> None:
    text = '[matrix]\n"topology.kind" = ["prefork"]\n"workload.kind" = ["sign"]\n"load.rate_hz" = [1]'

    assert only_arm(text).name == "topology.kind=prefork workload.kind=sign rate_hz=1"


def test_200_arms_are_allowed() -> None:
    assert len(parse(f'[matrix]\n"topology.processes" = {list(range(1, 201))}', "x.toml").arms) == 200


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("load.duration_s=1", "load.duration_s", 1.0),
        (" load.duration_s = 1 ", "load.duration_s", 1.0),
        ("context.policy=shared", "context.policy", "shared"),
        ('context.policy="shared"', "context.policy", "shared"),
        ("topology={kind='threads', threads=2}", "topology.threads", 2),
        ("timeout_s=40", "timeout_s", 40.0),
    ],
)
def test_an_override_takes_a_toml_value_or_a_bare_word(override: str, path: str, value: object) -> None:
    found: object = only_arm("[load]\nduration_s = 9", override)
    for part in path.split("."):
        found = getattr(found, part)

    assert found == value


def test_overrides_reach_top_level_keys_arms_the_matrix_margins_and_expectations() -> None:
    text = 'blocks = 12\n[[arm]]\nname = "a b"\nload.rate_hz = 5\n[matrix]\n"topology.processes" = [1, 2]'
    overrides = (
        "blocks=6",
        'arm."a b".load.rate_hz=7',
        "matrix.topology.processes=[3]",
        "margin.response_ms.p50=0.2",
        "expect.valid=true",
    )
    scenario = parse(text, "x.toml", overrides)

    assert scenario.blocks == 6
    assert [(arm.name, arm.load.rate_hz) for arm in scenario.arms] == [("a b processes=3", 7)]
    assert scenario.margin == {"response_ms.p50": 0.2}
    assert scenario.expect == {"valid": True}


def test_the_last_override_of_a_key_counts() -> None:
    assert parse("", "x.toml", ("blocks=6", "blocks=7")).blocks == 7


def test_a_broker_is_one_context_of_a_tpm_however_many_processes_it_serves() -> None:
    (arm,) = parse(
        '[token]\nkind = "tpm2"\n[topology]\nprocesses = 4\n[context]\npolicy = "broker"', "file.toml", ()
    ).arms
    assert arm.token is not None
    assert arm.token.resource_manager is False
