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


def test_the_bridge_software_has_neither_token_nor_context() -> None:
    arm = only_arm('workload.kind = "handshake"\ntls.bridge = "software"')

    assert (arm.name, arm.token, arm.context) == ("software", None, None)
    assert arm.topology is not None
    assert (arm.workload.key, arm.worker_threads, arm.streams) == ("ec-p256", 4, 1)


EXTERNAL = 'workload.kind = "handshake"\ntls = { server = "external", host = "www.example", port = 443 }'


def test_an_external_server_has_no_token_no_context_and_no_topology_and_decides_its_own_tls() -> None:
    arm = only_arm(EXTERNAL)

    assert (arm.name, arm.token, arm.context, arm.topology) == ("external", None, None, None)
    assert arm.tls is not None
    assert (arm.tls.host, arm.tls.port, arm.tls.version, arm.tls.vhosts) == ("www.example", 443, "1.3", 1)
    assert (arm.tls.bridge, arm.tls.key_exchange, arm.tls.vhost_by, arm.tls.resumption) == (None, None, None, None)
    assert (arm.workload.key, arm.load.intruders, arm.load.generators) == (None, None, 1)
    assert (arm.worker_threads, arm.streams, arm.timeout_s) == (0, 1, 21.0)


@pytest.mark.parametrize(
    "text", [EXTERNAL, 'workload.kind = "handshake"', 'workload.kind="handshake"\ntls.bridge="engine"']
)
def test_json_of_handshakes_round_trips(text: str) -> None:
    scenario = parse(text, "x.toml")

    assert Scenario.from_json(scenario.to_json()) == scenario


def test_files_of_tls_are_seen_from_the_scenario_file_and_those_of_set_from_the_shell() -> None:
    (external,) = parse(EXTERNAL.replace("443", '443, trust = "ca.pem"'), "there/x.toml").arms
    own = MODULE + 'key_label = "k"\n[workload]\nkind = "handshake"\n[tls]\ncertificate = "c.pem"'
    (given,) = parse(own, "there/x.toml").arms
    (by_set,) = parse(own, "there/x.toml", ("tls.certificate=c.pem",)).arms

    assert external.tls is not None
    assert external.tls.trust == "there/ca.pem"
    assert given.tls is not None
    assert given.tls.certificate == "there/c.pem"
    assert by_set.tls is not None
    assert by_set.tls.certificate == "c.pem"


HTTPD, NGINX, STUNNEL = (
    f'workload.kind = "handshake"\ntls.server = "{server}"\n' for server in ("httpd", "nginx", "stunnel")
)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        (HTTPD, "name", "httpd"),
        (HTTPD, "topology.kind", "prefork"),
        (HTTPD, "topology.processes", 4),
        (HTTPD, "topology.threads", 1),
        (HTTPD + 'topology.kind = "worker"', "topology.threads", 4),
        (HTTPD + 'topology.kind = "event"', "topology.threads", 4),
        (HTTPD + 'topology = { kind = "event", threads = 8, connections_per_child = 50 }', "topology.threads", 8),
        (HTTPD + 'topology = { kind = "event", connections_per_child = 50 }', "topology.connections_per_child", 50),
        (HTTPD + "topology.connections_per_child = 50", "topology.connections_per_child", 50),
        (NGINX, "topology.kind", "event"),
        (NGINX, "topology.processes", 4),
        (NGINX, "topology.threads", 1),
        (NGINX + "topology = { processes = 2, threads = 1 }", "topology.processes", 2),
        (STUNNEL, "topology.kind", "threads"),
        (STUNNEL, "topology.processes", 1),
        (STUNNEL, "topology.threads", 1),
        (HTTPD, "tls.bridge", "engine"),
        (HTTPD + 'tls.bridge = "provider"', "tls.bridge", "provider"),
        (NGINX + 'tls.bridge_library = "/p.so"', "tls.bridge_library", "/p.so"),
        (HTTPD + 'tls.resumption = "off"', "tls.resumption", "off"),
        (HTTPD + 'tls.vhosts = 16\ntls.vhost_by = "ip"', "tls.vhosts", 16),
        (NGINX + "tls.vhosts = 16", "tls.vhost_by", "sni"),
        (
            HTTPD + 'workload.key = "rsa-2048"\ntls.bridge = "provider"\ntls.version = "1.2"\ntls.key_exchange = "rsa"',
            "tls.key_exchange",
            "rsa",
        ),
        (HTTPD, "context.policy", None),
        (HTTPD, "context.inherit", None),
        (HTTPD, "context.session", None),
        (HTTPD, "context.pool_size", None),
        (HTTPD, "context.locking", None),
        (HTTPD + 'context.locking = "none"', "context.locking", "none"),
        (HTTPD, "workload.key", "ec-p256"),
        (HTTPD, "load.intruders", None),
        (HTTPD, "load.generators", 1),
        (HTTPD, "server.user", "www-data"),
        (HTTPD + 'server.user = "nobody"', "server.user", "nobody"),
        (HTTPD, "server.foreground", True),
        (STUNNEL + "server.foreground = false", "server.foreground", False),
        (HTTPD, "server.env_lines", None),
        (STUNNEL, "server.env_lines", None),
        (NGINX, "server.env_lines", True),
        (NGINX + "server.env_lines = false", "server.env_lines", False),
        (NGINX, "server.reload_at_s", None),
        (STUNNEL + "server.reload_at_s = 5.9", "server.reload_at_s", 5.9),
        (HTTPD + "server = { reload_at_s = 0, kill_at_s = 2 }", "server.kill_at_s", 2.0),
        (HTTPD, "timeout_s", 31.4),
        (STUNNEL, "timeout_s", 31.1),
        (HTTPD, "worker_threads", 4),
        (HTTPD, "streams", 1),
        (HTTPD + 'token = { kind = "p11kit-proxy", reset_on_fork = true }', "token.kind", "p11kit-proxy"),
    ],
)
def test_a_real_server_has_defaults_of_its_own(text: str, path: str, value: object) -> None:
    found: object = only_arm(text)
    for part in path.split("."):
        found = getattr(found, part)

    assert found == value


@pytest.mark.parametrize("text", [HTTPD, NGINX, STUNNEL + "server = { foreground = false, reload_at_s = 1 }"])
def test_json_of_real_servers_round_trips(text: str) -> None:
    scenario = parse(text, "x.toml")

    assert Scenario.from_json(scenario.to_json()) == scenario


def test_json_from_before_there_were_real_servers_is_read() -> None:
    data = parse('workload.kind = "handshake"', "x.toml").to_json()
    for arm in data["arms"]:
        del arm["server"], arm["tls"]["bridge_library"]

    assert Scenario.from_json(data).arms[0].server is None


def test_arms_a_matrix_and_overrides_reach_what_happens_to_a_real_server() -> None:
    text = HTTPD + 'server.user = "nobody"\n[[arm]]\nname = "still"\n[[arm]]\nname = "told"\nserver.reload_at_s = 2'
    still, told = parse(text, "x.toml", ("server.kill_at_s=3",)).arms
    early, late = parse(HTTPD + '[matrix]\n"server.reload_at_s" = [1, 2.5]', "x.toml").arms

    assert still.server == models.RealServer(user="nobody", kill_at_s=3)
    assert told.server == models.RealServer(user="nobody", kill_at_s=3, reload_at_s=2)
    assert (early.name, late.name) == ("reload_at_s=1", "reload_at_s=2.5")
    assert late.server is not None
    assert late.server.reload_at_s == 2.5


def test_a_matrix_of_servers_gives_each_the_topology_and_the_bridge_that_it_has() -> None:
    arms = parse(
        'workload.kind = "handshake"\n[matrix]\n"tls.server" = ["lab", "httpd", "nginx", "stunnel"]', "x.toml"
    ).arms

    assert [arm.topology and arm.topology.kind for arm in arms] == ["prefork", "prefork", "event", "threads"]
    assert [arm.tls and arm.tls.bridge for arm in arms] == ["direct", "engine", "engine", "engine"]
    assert [arm.context and arm.context.policy for arm in arms] == ["per-process", None, None, None]
    assert [arm.server is not None for arm in arms] == [False, True, True, True]


def test_a_library_is_seen_from_the_scenario_file_and_that_of_set_from_the_shell() -> None:
    (given,) = parse(HTTPD + 'tls.bridge_library = "new/pkcs11.so"', "there/x.toml").arms
    (by_set,) = parse(HTTPD, "there/x.toml", ("tls.bridge_library=new/pkcs11.so",)).arms

    assert given.tls is not None
    assert given.tls.bridge_library == "there/new/pkcs11.so"
    assert by_set.tls is not None
    assert by_set.tls.bridge_library == "new/pkcs11.so"


@pytest.mark.parametrize("kind", ["sign", "random", "session-churn", "handshake"])
@pytest.mark.parametrize("token", ["p11kit-proxy", "p11kit-remote"])
def test_the_tokens_of_p11_kit_are_for_all_workloads(token: str, kind: str) -> None:
    arm = only_arm(f'token.kind = "{token}"\nworkload.kind = "{kind}"\ncontext.policy = "reinit"')

    assert arm.token is not None
    assert (arm.token.kind, arm.token.reset_on_fork, arm.token.provision) == (token, False, True)


def test_a_matrix_and_an_override_reach_intruders() -> None:
    text = 'workload.kind = "handshake"\nload.intruders.reset = 1\n[matrix]\n"load.intruders.silent" = [0, 5]'
    none, five = parse(text, "x.toml", ("load.intruders.rubbish=2",)).arms

    assert (none.name, five.name) == ("silent=0", "silent=5")
    assert five.load.intruders is not None
    assert five.load.intruders.model_dump() == {"silent": 5, "rubbish": 2, "reset": 1, "mismatch": 0}
    assert none.load.intruders is not None
    assert none.load.intruders.silent == 0


def test_an_override_of_intruders_that_an_arm_sets_itself_is_refused() -> None:
    text = 'workload.kind = "handshake"\n[[arm]]\nname = "a"\nload.intruders.silent = 1'

    with pytest.raises(ScenarioError, match=r"load\.intruders\.silent: .*arm\.a\.load\.intruders\.silent"):
        parse(text, "x.toml", ("load.intruders.silent=2",))


def test_figures_of_handshakes_can_be_compared_and_expected() -> None:
    metrics = (
        "where_ms.accept.p50",
        "where_ms.token.p50",
        "where_ms.software.p50",
        "cold_ms.tls_context",
        "cold_ms.open_key",
    )
    text = "[margin]\n" + "\n".join(f'"{metric}" = 0.1' for metric in metrics)
    text += '\n[expect]\n"arms.per-process.connections.joined" = "> 0"\n"arms.per-process.hosts" = 1'
    scenario = parse(text, "x.toml")

    assert set(scenario.margin) == set(metrics)
    assert len(scenario.expect) == 2


def test_a_module_needs_a_key_label_only_to_sign_with_a_key_that_exists() -> None:
    for text in ('key_label = "k"', "provision = true", '[workload]\nkind = "random"'):
        token = only_arm(MODULE + text).token
        assert token is not None
        assert token.reset_on_fork is None
    assert only_arm('[token]\nkind = "module"\n[workload]\nkind = "null"').token is None


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
