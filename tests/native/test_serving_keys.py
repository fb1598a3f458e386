"""The direct bridge before a fake module: which session a handshake uses, and what a failing call leaves in its row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.native.loops import SESSION_OWN, SESSION_PER_OPERATION, SESSION_POOL
from lab.native.serving import ServingError, Tls
from lab.record.dtypes import LAYER, TLS
from lab.record.names import FUNCTION_NUMBER
from tests.native.playing import FakeModule
from tests.native.serving import (
    certificate,
    client_context,
    host_name,
    private_key,
    public_key,
    serving,
    try_to_greet,
)

DEVICE_ERROR, ENCRYPTED_DATA_INVALID, SESSION_COUNT, NOT_INITIALIZED = 0x30, 0x40, 0xB1, 0x190
BAD_RECORD_MAC = 20
PUBLIC = {kind: public_key(private_key(kind)) for kind in ("ec", "rsa")}
STATIC_RSA: dict[str, Any] = {"version": "1.2", "key_exchange": "rsa"}

Make = Callable[..., Tls]


@pytest.fixture
def module(built: Path, tmp_path: Path) -> FakeModule:
    return FakeModule(built / "fake.so", tmp_path)


@pytest.fixture
def make(module: FakeModule) -> Iterator[Make]:
    """Makes a Tls whose keys are said to be on the fake module."""
    made = []

    def one(
        kind: str = "ec", sessions: tuple[int, ...] = (7,), use: int = SESSION_OWN, hosts: int = 1, **settings: Any
    ) -> Tls:
        tls = Tls("direct", hosts=hosts, **settings)
        tls.load()
        tls.token(module.function_list, 0, sessions, use, range(100, 100 + hosts))
        for host in range(hosts):
            tls.key(host, PUBLIC[kind])
            tls.context(host, certificate(PUBLIC[kind], host_name(host)))
        made.append(tls)
        return tls

    yield one
    for tls in made:
        tls.close()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_handshake_is_one_signature_of_the_module(make: Make, module: FakeModule, kind: str, version: str) -> None:
    outcome = make(kind, version=version).handshake_once()

    assert (module.calls("C_SignInit"), module.calls("C_Sign")) == (1, 1)
    assert outcome.session == 7
    assert (outcome.layer, outcome.code) == ("tls", TLS["bad_signature"])  # the module makes it up


def test_a_static_rsa_handshake_is_one_decryption(make: Make, module: FakeModule) -> None:
    outcome = make("rsa", **STATIC_RSA).handshake_once()

    assert (module.calls("C_DecryptInit"), module.calls("C_Decrypt")) == (1, 1)
    assert (outcome.layer, outcome.code) == ("tls", TLS["alert_sent"] + BAD_RECORD_MAC)


@pytest.mark.parametrize("function", ["C_SignInit", "C_Sign"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_signature_that_fails_is_the_module_s_failure(
    make: Make, module: FakeModule, kind: str, function: str
) -> None:
    module.answer(function, DEVICE_ERROR)
    outcome = make(kind).handshake_once()

    assert (outcome.layer, outcome.code, outcome.function) == ("pkcs11", DEVICE_ERROR, FUNCTION_NUMBER[function])
    assert outcome.session == 7


@pytest.mark.parametrize("function", ["C_DecryptInit", "C_Decrypt"])
def test_a_decryption_that_the_device_fails_is_the_module_s_failure(
    make: Make, module: FakeModule, function: str
) -> None:
    module.answer(function, DEVICE_ERROR)
    outcome = make("rsa", **STATIC_RSA).handshake_once()

    assert (outcome.layer, outcome.code, outcome.function) == ("pkcs11", DEVICE_ERROR, FUNCTION_NUMBER[function])


def test_a_wrong_padding_is_not_told_apart_from_a_wrong_secret(make: Make, module: FakeModule) -> None:
    module.answer("C_Decrypt", ENCRYPTED_DATA_INVALID)
    outcome = make("rsa", **STATIC_RSA).handshake_once()

    assert (outcome.layer, outcome.code) == ("tls", TLS["alert_sent"] + BAD_RECORD_MAC)


@pytest.mark.parametrize("function", ["C_OpenSession", "C_CloseSession"])
def test_a_session_per_operation_is_opened_and_closed_and_either_may_fail(
    make: Make, module: FakeModule, function: str
) -> None:
    tls = make(use=SESSION_PER_OPERATION)
    first = tls.handshake_once()
    assert (module.calls("C_OpenSession"), module.calls("C_CloseSession")) == (1, 1)
    assert first.session > 0

    module.answer(function, SESSION_COUNT)
    second = tls.handshake_once()
    assert (second.layer, second.code, second.function) == ("pkcs11", SESSION_COUNT, FUNCTION_NUMBER[function])


def test_a_thread_s_own_session_goes_by_its_index(make: Make) -> None:
    tls = make(sessions=(11, 12, 13))

    assert [tls.handshake_once(thread=thread).session for thread in (2, 0, 1)] == [13, 11, 12]


def test_a_pool_is_a_stack_and_gets_its_session_back(make: Make, module: FakeModule) -> None:
    tls = make(sessions=(11, 12), use=SESSION_POOL)
    sessions = [tls.handshake_once(thread=thread).session for thread in (0, 1)]
    module.answer("C_Sign", DEVICE_ERROR)
    sessions += [tls.handshake_once().session for _ in range(3)]

    assert sessions == [12] * 5


def test_sessions_and_keys_can_be_others_from_now_on(make: Make, module: FakeModule) -> None:
    tls = make(sessions=(11,))
    tls.token(module.function_list, 0, (21,), SESSION_OWN, (200,))

    assert tls.handshake_once().session == 21


def test_a_bridge_that_was_told_of_no_sessions_says_so() -> None:
    tls = Tls("direct")
    tls.load()
    tls.key(0, PUBLIC["ec"])
    tls.context(0, certificate(PUBLIC["ec"], host_name(0)))
    outcome = tls.handshake_once()
    tls.close()

    assert (outcome.layer, outcome.code, outcome.function) == (
        "pkcs11",
        NOT_INITIALIZED,
        FUNCTION_NUMBER["C_OpenSession"],
    )


def test_a_key_for_each_host_is_wanted(make: Make, module: FakeModule) -> None:
    tls = make(hosts=2)
    with pytest.raises(ServingError, match="a key for each host"):
        tls.token(module.function_list, 0, (7,), SESSION_OWN, (100,))


@pytest.mark.parametrize("mode", ["blocking", "event"])
def test_the_row_of_a_connection_names_the_session_the_function_and_the_code(
    make: Make, module: FakeModule, mode: Any, tmp_path: Path
) -> None:
    module.answer("C_Sign", DEVICE_ERROR)
    with serving(make(), tmp_path, mode) as served:
        for _ in range(3):
            try_to_greet(served.address, client_context())
        served.stop()
        rows = served.rows()

    of_failure = {(row["key_use"], row["layer"], row["code"], row["function"]) for row in rows}
    assert len(rows) == 3
    assert of_failure == {(7, LAYER["pkcs11"], DEVICE_ERROR, FUNCTION_NUMBER["C_Sign"])}


def test_a_failure_does_not_stick_to_the_next_connection(make: Make, module: FakeModule, tmp_path: Path) -> None:
    with serving(make(), tmp_path) as served:
        module.answer("C_SignInit", DEVICE_ERROR)
        try_to_greet(served.address, client_context())
        module.answer("C_SignInit", 0)
        try_to_greet(served.address, client_context("1.2"))
        served.stop()
        first, second = served.rows()

    assert (first["layer"], first["code"]) == (LAYER["pkcs11"], DEVICE_ERROR)
    assert (second["layer"], second["code"], second["key_use"]) == (LAYER["tls"], TLS["no_shared_version"], 0)
