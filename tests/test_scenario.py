"""What a scenario file says, with every default in its place."""

from __future__ import annotations

import subprocess
import sys
import typing
from pathlib import Path

import pytest
from pydantic import ValidationError

from lab.commands import source
from lab.errors import ScenarioError
from lab.record import names
from lab.scenario import Scenario, models, parse

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*.toml"))
MODULE = '[token]\nkind = "module"\npath = "/m.so"\ntoken_label = "t"\npin_env = "PIN"\n'


def only_arm(text: str, *overrides: str) -> models.Arm:
    (arm,) = parse(text, "x.toml", overrides).arms
    return arm


def test_a_file_that_says_nothing_is_a_scenario_of_defaults() -> None:
    scenario = parse("", "nothing.toml")

    assert (scenario.name, scenario.question, scenario.seed, scenario.blocks) == ("nothing", "", 1, 12)
    (arm,) = scenario.arms
    assert arm.name == "per-process"
    assert arm.token is not None
    assert (arm.token.kind, arm.token.reset_on_fork) == ("softhsm", False)
    assert (arm.topology.kind, arm.topology.processes, arm.topology.threads) == ("prefork", 4, 1)
    assert (arm.topology.fork_point, arm.topology.busy_threads, arm.topology.start) == ("idle", None, "staggered")
    assert arm.context is not None
    assert (arm.context.policy, arm.context.inherit) == ("per-process", None)
    assert (arm.context.session, arm.context.pool_size, arm.context.locking) == ("per-thread", None, "os")
    assert (arm.workload.kind, arm.workload.key, arm.workload.mechanism) == ("sign", "ec-p256", "ECDSA")
    assert arm.workload.driver == "native"
    assert (arm.load.mode, arm.load.rate_hz, arm.load.arrivals) == ("open", 100, "poisson")
    assert (arm.load.warmup_s, arm.load.duration_s) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('workload.key = "rsa-2048"', "workload.mechanism", "RSA_PKCS"),
        ('workload.key = "ec-p384"', "workload.mechanism", "ECDSA"),
        ('workload.kind = "random"', "workload.mechanism", None),
        ('workload.kind = "random"', "workload.driver", "native"),
        ('workload.driver = "python-pkcs11"', "context.locking", "none"),
        ('topology.kind = "threads"', "topology.processes", 1),
        ('topology.kind = "threads"', "topology.threads", 4),
        ('topology.kind = "worker"', "topology.threads", 4),
        ('topology.kind = "spawn"', "topology.threads", 1),
        ('topology.fork_point = "threads-busy"\ncontext.policy = "shared"', "topology.busy_threads", 2),
        ('context.policy = "shared"', "context.inherit", "sessions"),
        ('context.session = "pool"', "context.pool_size", 2),
        ('load.mode = "closed"', "load.rate_hz", None),
        ('load.mode = "closed"', "load.arrivals", None),
        ("load.warmup_s = 0.5\nload.duration_s = 2", "timeout_s", 12.9),
        ('topology.kind = "spawn"', "timeout_s", 18.4),
        ("timeout_s = 30", "timeout_s", 30.0),
        ("", "tls", None),
        ("", "load.generators", None),
        ('workload.kind = "handshake"', "workload.key", "ec-p256"),
        ('workload.kind = "handshake"', "workload.mechanism", None),
        ('workload.kind = "handshake"', "workload.driver", None),
        ('workload.kind = "handshake"', "tls.version", "1.3"),
        ('workload.kind = "handshake"', "tls.bridge", "direct"),
        ('workload.kind = "handshake"', "tls.server", "lab"),
        ('workload.kind = "handshake"', "tls.key_exchange", "ecdhe"),
        ('workload.kind = "handshake"', "tls.vhosts", 1),
        ('workload.kind = "handshake"', "tls.vhost_by", "sni"),
        ('workload.kind = "handshake"', "tls.resumption", "off"),
        ('workload.kind = "handshake"', "tls.port", None),
        ('workload.kind = "handshake"', "topology.connections_per_child", None),
        ('workload.kind = "handshake"', "context.session", "per-thread"),
        ('workload.kind = "handshake"', "context.locking", "os"),
        ('workload.kind = "handshake"', "load.generators", 1),
        ('workload.kind = "handshake"', "load.clients", None),
        ('workload.kind = "handshake"', "load.intruders.silent", 0),
        ('workload.kind = "handshake"\nload.mode = "closed"', "load.clients", 8),
        ('workload.kind = "handshake"\ntopology.kind = "event"', "topology.threads", 1),
        ('workload.kind = "handshake"\ntopology.kind = "event"', "topology.processes", 4),
        ('workload.kind = "handshake"\ntls.timeout_s = 2.5', "timeout_s", 18.9),
        ('workload.kind = "handshake"\ntls.bridge = "engine"', "context.session", None),
        ('workload.kind = "handshake"\ntls.bridge = "engine"', "context.locking", None),
        ('workload.kind = "handshake"\ntls.bridge = "engine"\ncontext.locking = "os"', "context.locking", "os"),
        ('workload.kind = "handshake"\ntls.bridge = "provider"\ncontext.policy = "reinit"', "context.policy", "reinit"),
        (
            'workload.kind = "handshake"\ntls.bridge = "provider"\ncontext.policy = "shared"',
            "context.inherit",
            "sessions",
        ),
        ('token.kind = "p11kit-proxy"', "token.reset_on_fork", False),
        ('token.kind = "p11kit-proxy"', "token.provision", True),
        ('token = { kind = "p11kit-remote", reset_on_fork = true }', "token.reset_on_fork", True),
        ('workload.kind = "handshake"', "server", None),
        ('workload.kind = "handshake"', "tls.bridge_library", None),
        (
            'workload.kind = "handshake"\ntls = { bridge = "engine", bridge_library = "/e.so" }',
            "tls.bridge_library",
            "/e.so",
        ),
    ],
)
def test_a_default_follows_from_what_is_given(text: str, path: str, value: object) -> None:
    found: object = only_arm(text)
    for part in path.split("."):
        found = getattr(found, part)

    assert found == value


def test_the_null_workload_has_neither_token_nor_context() -> None:
    arm = only_arm('workload.kind = "null"\ntoken.kind = "softhsm"')

    assert (arm.name, arm.token, arm.context) == ("null", None, None)
    assert (arm.workload.key, arm.workload.mechanism, arm.workload.driver) == (None, None, None)


@pytest.mark.parametrize("kind", ["sign", "random", "session-churn", "handshake"])
@pytest.mark.parametrize("token", ["p11kit-proxy", "p11kit-remote"])
def test_the_tokens_of_p11_kit_are_for_all_workloads(token: str, kind: str) -> None:
    arm = only_arm(f'token.kind = "{token}"\nworkload.kind = "{kind}"\ncontext.policy = "reinit"')

    assert arm.token is not None
    assert (arm.token.kind, arm.token.reset_on_fork, arm.token.provision) == (token, False, True)


def test_a_module_needs_a_key_label_only_to_sign_with_a_key_that_exists() -> None:
    for text in ('key_label = "k"', "provision = true", '[workload]\nkind = "random"'):
        token = only_arm(MODULE + text).token
        assert token is not None
        assert token.reset_on_fork is None
    assert only_arm('[token]\nkind = "module"\n[workload]\nkind = "null"').token is None


def test_margins_follow_the_load_mode_unless_given() -> None:
    assert parse("", "x.toml").margin == {"response_ms.p50": 0.05, "response_ms.p99": 0.10}
    assert parse('load.mode = "closed"', "x.toml").margin == {"throughput_hz": 0.05, "service_ms.p50": 0.05}
    quoted, nested = '[margin]\n"response_ms.p99.9" = 0.3', "[margin]\nresponse_ms.p99.9 = 0.3"
    assert parse(quoted, "x.toml").margin == parse(nested, "x.toml").margin == {"response_ms.p99.9": 0.3}


def test_an_expectation_finds_an_arm_whose_name_holds_a_dot() -> None:
    text = '[matrix]\nload.rate_hz = [0.5]\n[expect]\n"arms.rate_hz=0.5.fail" = 0'

    assert parse(text, "x.toml").expect == {"arms.rate_hz=0.5.fail": 0}


def test_a_scenario_is_frozen() -> None:
    scenario = parse("", "x.toml")

    with pytest.raises(ValidationError):
        scenario.arms[0].topology.processes = 9  # type: ignore[misc]


def test_json_round_trips() -> None:
    text = MODULE + 'key_label = "k"\n[expect]\nvalid = true\n"seed" = 1\n[matrix]\n"load.rate_hz" = [1, 2.5]'
    scenario = parse(text, "x.toml")

    assert Scenario.from_json(scenario.to_json()) == scenario


def test_json_keeps_the_names_of_environment_variables_and_drops_their_values() -> None:
    scenario = parse(MODULE + 'key_label = "k"\nenvironment = { B = "geheim", A = "geheim" }', "x.toml")
    data = scenario.to_json()

    assert data["arms"][0]["token"]["environment"] == ["A", "B"]
    assert "geheim" not in str(data)
    assert "geheim" not in repr(scenario)
    assert Scenario.from_json(data).to_json() == data


@pytest.mark.parametrize("data", [{}, {"arms": 3}, {"arms": [{}]}, {**parse("", "x.toml").to_json(), "seed": "1"}])
def test_json_of_something_else_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ScenarioError, match=r"^scenario\.json: "):
        Scenario.from_json(data)


def test_the_mechanisms_of_a_scenario_are_those_with_a_number() -> None:
    assert set(typing.get_args(models.Mechanism)) == set(names.MECHANISM)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_scenario_opens_with_its_question_and_is_valid(path: Path) -> None:
    text = source.read(path)
    scenario = parse(text, path.name)

    assert text.startswith("# ")
    assert "# Look for:" in text
    assert scenario.name == path.stem
    assert scenario.question.endswith("?")
    assert scenario.expect
    assert Scenario.from_json(scenario.to_json()) == scenario


def test_seven_scenarios_ship() -> None:
    assert len(SCENARIOS) >= 7


def test_a_mark_at_the_start_of_a_file_is_not_part_of_its_text(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbfblocks = 6")

    assert parse(source.read(path), path.name).blocks == 6


def test_importing_the_package_does_not_import_pydantic() -> None:
    check = "import sys, lab.scenario, lab.errors; sys.exit('pydantic' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("written", ["1.2", '"1.2"'])
def test_a_tls_version_may_be_written_as_the_number_that_it_looks_like(written: str) -> None:
    scenario = parse('[workload]\nkind = "handshake"\n', "a.toml", [f"tls.version={written}"])
    assert scenario.arms[0].tls
    assert scenario.arms[0].tls.version == "1.2"
