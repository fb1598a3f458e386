"""Options of `lab probe`: each mistake is one message that names the option and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.commands.probe_options import Options, as_options
from lab.errors import ScenarioError
from lab.probe.lines import LINES

MODULE: dict[str, Any] = {"module": Path("/m.so"), "token_label": "l", "pin_env": "X_PIN"}
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "--token, --module: ", "softhsm"),
    ({"token": "softhsm", "module": Path("/m.so")}, "--token, --module: ", "give one of them"),
    ({"token": "hsm"}, '--token: "hsm" is none', "softhsm"),
    ({"token": "softhsm", "over": "softhsm"}, "--over: ", "p11kit-proxy"),
    ({"token": "p11kit-remote", "over": "hsm"}, '--over: "hsm" is none', "softhsm"),
    ({"token": "p11kit-remote", "over": "module"}, '--over: "module" is none', "softhsm"),
    ({"token": "softhsm", "pin_env": "X_PIN"}, "--pin-env: only allowed with --module", "softhsm"),
    ({"token": "softhsm", "provision": True}, "--provision: only allowed with --module", "softhsm"),
    ({"token": "softhsm", "environment": ("A=b",)}, "--environment: only allowed with --module", "softhsm"),
    ({"token": "softhsm", "key": "dsa"}, '--key: "dsa" is none', "rsa-2048"),
    ({"token": "softhsm", "only": ("forks",)}, '--only: "forks" is none', "child-initialize"),
    ({"token": "softhsm", "skip": ("forks",)}, '--skip: "forks" is none', "fork"),
    ({"token": "softhsm", "only": ("survives",), "skip": ("fork",)}, "--skip: no line is left", ""),
    ({"token": "softhsm", "most_sessions": 1}, "--most-sessions: 1", "2 to 65536"),
    ({"token": "softhsm", "timeout_s": 1.0}, "--timeout-s: 1", "5 or more"),
    ({"token": "softhsm", "timeout_s": float("nan")}, "--timeout-s: nan", "5 or more"),
    ({**MODULE, "reset_on_fork": True}, "--reset-on-fork: only allowed with --token", ""),
    ({**MODULE, "token_label": None}, "--token-label: missing", ""),
    ({**MODULE, "pin_env": None}, "--pin-env: missing", "--pin-file"),
    ({**MODULE, "pin_file": Path("/p")}, "--pin-env: given together", "--pin-file"),
    ({**MODULE, "pin_env": "12 34"}, "--pin-env: not the name of an environment variable", ""),
    ({**MODULE, "environment": ("just-a-secret",)}, "--environment: not of the form NAME=VALUE", ""),
    ({**MODULE, "environment": ("X_PIN=1",)}, "--environment: X_PIN is the variable of --pin-env", ""),
]


@pytest.mark.parametrize(("given", "begins", "allowed"), BAD, ids=[case[1] for case in BAD])
def test_a_mistake_is_named_with_what_is_allowed(given: dict[str, Any], begins: str, allowed: str) -> None:
    options = Options(**given)
    with pytest.raises(ScenarioError) as error:
        _ = options.settings, options.chosen(LINES), options.key_kind, options.sessions, options.seconds

    assert str(error.value).startswith(begins)
    assert allowed in str(error.value)
    assert "secret" not in str(error.value)


def test_only_and_skip_take_lines_and_groups() -> None:
    options = Options(token="softhsm", only=("fork",), skip=("child-initialize", "survives"))
    names = [line.name for line in options.chosen(LINES)]

    assert names == [
        line.name for line in LINES if line.group == "fork" and line.name not in ("child-initialize", "survives")
    ]


def test_a_token_of_somebody_else_has_fewer_sessions_and_signs_with_no_key_that_was_not_named() -> None:
    assert (Options(token="softhsm").sessions, Options(**MODULE).sessions) == (1024, 64)
    assert Options(token="softhsm").key_kind == "ec-p256"
    assert Options(**MODULE).key_kind is None
    assert Options(**MODULE, key_label="k").key_kind == "ec-p256"


def test_the_command_to_repeat_it_holds_no_value_of_a_variable() -> None:
    options = Options(**MODULE, environment=("A=secret",), only=("fork",), most_sessions=8, timeout_s=30.0)

    assert options.command == (
        "python -m lab probe --module /m.so --token-label l --pin-env X_PIN --environment A=... --only fork "
        "--most-sessions 8 --timeout-s 30"
    )
    assert "secret" not in repr(options)


def test_keys_of_a_scenario_become_options() -> None:
    assert as_options("token.pin_env: the PIN is wrong") == "--pin-env: the PIN is wrong"
    assert as_options("workload.mechanism: this token has no ECDSA") == "--key: this token has no ECDSA"
