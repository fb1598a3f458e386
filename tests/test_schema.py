"""The JSON Schema takes what parse() takes, as far as a schema can say it, and describes every key."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lab.scenario import schema

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*.toml"))


def errors(text: str) -> list[str]:
    return [error.message for error in Draft202012Validator(schema()).iter_errors(tomllib.loads(text))]


def test_the_schema_is_valid_json_schema_of_draft_2020_12() -> None:
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema())
    json.dumps(schema(), allow_nan=False)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_scenario_is_valid(path: Path) -> None:
    assert errors(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[matrix]\n"topology.processes" = [1, 2]\n"context.policy" = ["shared"]\ntimeout_s = [20]',
        "[matrix]\ntopology.processes = [1, 2]\nload.rate_hz = [0.5]",
        '[[arm]]\nname = "a b"\ncontext.policy = "shared"\ntimeout_s = 3',
        "[margin]\nresponse_ms.p50 = 0.1\nthroughput_hz = 0.2",
        '[margin]\n"response_ms.p99.9" = 0.1',
        '[expect]\nvalid = true\narms.a.fail = 0\n"arms.a.ok" = 1',
        '[token]\nkind = "module"\nenvironment = { A = "b" }',
        '[tls]\nversion = "1.2"\nkey_exchange = "rsa"\nvhosts = 16\nport = 8443',
        "[load]\nclients = 8\ngenerators = 2\nintruders = { silent = 3 }",
        '[matrix]\n"tls.bridge" = ["direct", "software"]\n"load.intruders.silent" = [0, 5]',
        "[margin]\nwhere_ms.token.p50 = 0.1",
        '[tls]\nserver = "httpd"\nbridge_library = "x.so"\n[server]\nuser = "nobody"\nkill_at_s = 1.5',
        '[server]\nenv_lines = false\n[[arm]]\nname = "a"\nserver.reload_at_s = 2',
        '[matrix]\n"server.reload_at_s" = [1, 2.5]\n"server.foreground" = [true, false]\nserver.kill_at_s = [1]',
        '[token]\nkind = "p11kit-remote"\nreset_on_fork = true',
        '[token]\nkind = "tpm2"\nresource_manager = false',
        'blocks = "auto"',
    ],
)
def test_what_a_file_may_say_is_valid(text: str) -> None:
    assert errors(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "zzz = 1",
        '[topology]\nkind = "fork"',
        "[topology]\nprocesses = 0",
        "[topology]\nprocesses = 201",
        '[token]\npin = "1"',
        '[[arm]]\ncontext.policy = "shared"',
        '[[arm]]\nname = "a"\ncontext.polcy = "shared"',
        '[matrix]\n"topology.processes" = []',
        '[matrix]\n"topology.processes" = [0]',
        '[matrix]\n"topology.processes" = [1, 1]',
        '[matrix]\n"topology.zzz" = [1]',
        "[matrix]\ntopology.zzz = [1]",
        '[margin]\n"response_ms.p98" = 0.1',
        "[margin]\nthroughput_hz = 1",
        "[expect]\nvalid = [1]",
        "[load]\nrate_hz = 0",
        "[load]\nintruders = { silent = 10001 }",
        "[load]\nintruders = { noise = 1 }",
        "[tls]\nversion = 1.3",
        '[matrix]\n"load.intruders" = [1]',
        'server = "httpd"',
        '[server]\nname = "httpd"',
        "[server]\nreload_at_s = -1",
        "[server]\nkill_at_s = 3601",
        '[server]\nuser = "a b"',
        '[matrix]\n"server.env_lines" = ["no"]',
        '[[arm]]\nname = "a"\nserver.reload = 2',
    ],
)
def test_what_a_file_may_not_say_is_invalid(text: str) -> None:
    assert errors(text) != []


def test_every_key_is_described_and_none_may_be_null() -> None:
    def check(node: Any, where: str) -> None:
        for name, inner in node.get("properties", {}).items():
            assert inner.get("description"), f"{where}.{name}"
            assert {"type": "null"} not in inner.get("anyOf", []), f"{where}.{name}"
            assert inner.get("default", 0) is not None, f"{where}.{name}"

    whole = schema()
    check(whole, "file")
    for name in ("Token", "Topology", "Context", "Workload", "Tls", "RealServer", "Load", "Intruders", "WrittenArm"):
        check(whole["$defs"][name], name)


def test_a_caller_cannot_change_the_schema_for_the_next() -> None:
    schema()["properties"].clear()

    assert schema()["properties"]
