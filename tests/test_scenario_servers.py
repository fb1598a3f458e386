"""What a scenario file says of handshakes and of real servers, with every default in its place."""

from __future__ import annotations

import pytest

from lab.errors import ScenarioError
from lab.scenario import Scenario, models, parse
from tests.test_scenario import MODULE, only_arm


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
