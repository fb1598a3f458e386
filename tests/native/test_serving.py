"""The lab's server: what it says to clients of all sorts, and what its rows say of them. Keys are in memory here."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.native.serving import Mode, Tls, code_text
from lab.record.dtypes import ENDED, LAYER, NETWORK, SIDE, TLS
from tests.native.serving import (
    LONG_NS,
    client_context,
    greet,
    host_name,
    is_stamped,
    serving,
    software,
    try_to_greet,
)

ECONNRESET = 104


@pytest.fixture(params=["blocking", "event"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_23_connections_leave_23_rows(mode: Mode, version: str, kind: str, tmp_path: Path) -> None:
    tls, certificates = software((kind,), version=version)
    with serving(tls, tmp_path, mode) as served:
        greeted = [greet(served.address, client_context(version)) for _ in range(23)]
        served.stop()
        file = served.file()

    rows = file.rows
    assert served.counts == {0: 23}
    assert (len(rows), file.lost, file.process) == (23, 0, 1)
    assert {one.certificate for one in greeted} == set(certificates)
    assert rows["port"].tolist() == [one.port for one in greeted]
    assert rows["sequence"].tolist() == list(range(23))
    assert set(rows["version"]) == {{"1.2": 0x0303, "1.3": 0x0304}[version]}
    assert len(set(rows["random"]) - {0}) == 23
    assert set(rows["state"]) == {ENDED}
    assert set(rows["side"]) == {SIDE["server"]}
    assert {(row["code"], row["layer"], row["function"], row["resumed"]) for row in rows} == {(0, 0, 0, 0)}
    assert is_stamped(rows)


def test_the_random_of_a_row_is_the_one_of_the_client_s_hello(mode: Mode, tmp_path: Path) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    record_and_message_heads, version = 5 + 4, 2
    random = hello[record_and_message_heads + version :][:8]
    tls, _ = software()
    with serving(tls, tmp_path, mode) as served:
        with socket.create_connection(served.address) as raw:
            raw.sendall(hello)
            assert raw.recv(1)
        served.stop()
        (row,) = served.rows()

    assert row["random"] == int.from_bytes(random, "little")
    assert (row["layer"], row["code"]) in [(LAYER["network"], NETWORK["closed"]), (LAYER["network"], ECONNRESET)]


def test_a_static_rsa_key_exchange_is_made_with_the_ciphers_that_have_it(mode: Mode, tmp_path: Path) -> None:
    tls, _ = software(("rsa",), version="1.2", key_exchange="rsa")
    assert tls.handshake_once().code == 0
    with serving(tls, tmp_path, mode) as served:
        greeted = greet(served.address, client_context("1.2", "AES128-GCM-SHA256"))
        try_to_greet(served.address, client_context("1.2", "ECDHE-RSA-AES128-GCM-SHA256"))
        served.stop()
        first, second = served.rows()

    assert greeted.cipher == "AES128-GCM-SHA256"
    assert first["code"] == 0
    assert (second["layer"], second["code"]) == (LAYER["tls"], TLS["no_shared_cipher"])


def test_the_ciphers_of_the_settings_are_the_server_s(tmp_path: Path) -> None:
    tls, _ = software(version="1.2", ciphers="ECDHE-ECDSA-CHACHA20-POLY1305")
    with serving(tls, tmp_path) as served:
        greeted = greet(served.address, client_context("1.2"))

    assert greeted.cipher == "ECDHE-ECDSA-CHACHA20-POLY1305"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_name_that_a_client_asks_for_chooses_the_host(mode: Mode, version: str, tmp_path: Path) -> None:
    tls, certificates = software(("ec", "rsa", "ec"), version=version)
    asked = [2, 0, 1, 2]
    with serving(tls, tmp_path, mode) as served:
        got = [greet(served.address, client_context(version), host_name(host)).certificate for host in asked]
        served.stop()
        rows = served.rows()

    assert got == [certificates[host] for host in asked]
    assert rows["vhost"].tolist() == asked


@pytest.mark.parametrize("name", [None, "stranger.lab.test", "host-1.lab.test.more", "HOST-1.lab.test"])
def test_a_name_that_is_unknown_gets_the_first_host(name: str | None, tmp_path: Path) -> None:
    tls, certificates = software(("ec", "ec"))
    with serving(tls, tmp_path) as served:
        got = greet(served.address, client_context(), name).certificate

    assert got == certificates[1 if name == "HOST-1.lab.test" else 0]


def test_the_address_that_a_client_connects_to_chooses_the_host(mode: Mode, tmp_path: Path) -> None:
    tls, certificates = software(("ec", "rsa", "ec"), names=False)
    asked = [2, 0, 1, 2]
    with serving(tls, tmp_path, mode, hosts=("127.0.0.2", "127.0.0.3", "127.0.0.4")) as served:
        got = [greet(served.addresses[host], client_context()).certificate for host in asked]
        served.stop()
        rows = served.rows()

    assert got == [certificates[host] for host in asked]
    assert rows["vhost"].tolist() == asked


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("resumption", ["off", "shared", "per-process"])
def test_a_session_is_resumed_where_that_is_on(resumption: str, version: str, tmp_path: Path) -> None:
    tls, _ = software(resumption=resumption, ticket_key=bytes(80), version=version)
    context = client_context(version)
    with serving(tls, tmp_path) as served:
        first = greet(served.address, context)
        second = greet(served.address, context, session=first.session if first.session and first.session.id else None)
        served.stop()
        rows = served.rows()

    expected = resumption != "off"
    assert (first.resumed, second.resumed) == (False, expected)
    assert rows["resumed"].tolist() == [0, int(expected)]
    assert (first.session is not None and first.session.has_ticket) == expected


@pytest.mark.parametrize("resumption", ["shared", "per-process"])
def test_a_session_of_a_named_host_is_resumed_too(resumption: Any, tmp_path: Path) -> None:
    tls, certificates = software(("ec", "ec"), resumption=resumption, ticket_key=bytes(80))
    context = client_context()
    with serving(tls, tmp_path) as served:
        first = greet(served.address, context, host_name(1))
        second = greet(served.address, context, host_name(1), first.session)
        served.stop()
        rows = served.rows()

    assert second.resumed
    assert second.certificate == certificates[1]
    assert rows["vhost"].tolist() == [1, 1]


@pytest.mark.parametrize(("resumption", "resumed"), [("shared", True), ("per-process", False)])
def test_another_process_takes_a_ticket_where_the_key_is_shared(resumption: str, resumed: bool, tmp_path: Path) -> None:
    """The other process is a copy of the parent's object: here it listens twice, which is what makes the keys anew."""
    tls, _ = software(resumption=resumption, ticket_key=bytes(range(80)))
    context = client_context()
    with serving(tls, tmp_path) as served:
        first = greet(served.address, context)
        tls.renew_tickets()
        second = greet(served.address, context, session=first.session)

    assert second.resumed == resumed


def test_all_threads_serve(tmp_path: Path) -> None:
    tls, _ = software(("ec", "ec"))
    with serving(tls, tmp_path, threads=3, hosts=("127.0.0.1", "127.0.0.2")) as served:
        with ExitStack() as silent:  # each keeps one thread busy
            for address in (served.addresses[0], served.addresses[1]):
                silent.enter_context(socket.create_connection(address))
            greet(served.addresses[1], client_context())
        served.stop()
        rows = served.rows()

    assert sorted(served.counts.values()) == [1, 1, 1]
    assert sorted(rows["thread"]) == [0, 1, 2]
    assert len(set(rows["tid"])) == 3


@pytest.mark.parametrize("hosts", [("127.0.0.1",), ("127.0.0.1", "127.0.0.2")])
def test_threads_that_wait_for_clients_are_stopped(mode: Mode, hosts: tuple[str, ...], tmp_path: Path) -> None:
    tls, _ = software(("ec",) * len(hosts))
    threads = 4 if mode == "blocking" else 1
    with serving(tls, tmp_path, mode, hosts=hosts, threads=threads) as served:
        served.stop()  # at whatever point of its start each thread is
        served.stop()

    assert served.counts == dict.fromkeys(range(threads), 0)


def test_a_handshake_under_way_ends_after_the_stop(mode: Mode, tmp_path: Path) -> None:
    tls, _ = software()
    with serving(tls, tmp_path, mode, timeout_ns=LONG_NS) as served:
        greet(served.address, client_context())
        with (
            socket.create_connection(served.address) as raw,
            client_context().wrap_socket(raw, do_handshake_on_connect=False) as late,
        ):
            while len(served.rows()) < 2:
                pass
            served.server.stop()
            late.do_handshake()
            assert late.recv(1) == b""
        served.join()
        rows = served.rows()

    assert rows["code"].tolist() == [0, 0]


@pytest.mark.parametrize(("mode_", "threads"), [("blocking", 1), ("blocking", 4), ("event", 1)])
def test_a_process_serves_as_many_connections_as_it_may_and_then_leaves(
    mode_: Mode, threads: int, tmp_path: Path
) -> None:
    tls, _ = software()
    with serving(tls, tmp_path, mode_, threads=threads, most_connections=7) as served:
        for _ in range(7):
            greet(served.address, client_context())
        served.join()  # without a stop

    assert sum(served.counts.values()) == 7


def test_what_has_no_room_for_a_row_is_served_and_counted_as_lost(mode: Mode, tmp_path: Path) -> None:
    tls, _ = software()
    with serving(tls, tmp_path, mode, capacity=3) as served:
        for _ in range(5):
            greet(served.address, client_context())
        served.stop()
        file = served.file()

    assert (len(file.rows), file.lost) == (3, 2)


def test_a_host_without_a_context_takes_connections_and_lets_them_go(mode: Mode, tmp_path: Path) -> None:
    tls = Tls("software")
    with serving(tls, tmp_path, mode) as served:
        try_to_greet(served.address, client_context())
        served.stop()
        (row,) = served.rows()

    assert row["layer"] == LAYER["openssl"]
    assert code_text(row["code"]) == "SSL routines: no certificate set"


def test_a_handshake_with_itself_needs_no_network() -> None:
    tls, _ = software(("ec", "rsa"), version="1.2")
    outcomes = [tls.handshake_once(host) for host in (0, 1)]
    tls.close()

    assert [(one.code, one.version, one.session) for one in outcomes] == [(0, 0x0303, 0)] * 2
