"""Clients of the lab's server that fail, or that it must refuse: each is named in its row, and nobody else suffers."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.native.serving import Mode
from lab.record.dtypes import LAYER, NETWORK, TLS
from tests.native.serving import client_context, greet, serving, software

ETIMEDOUT, ECONNRESET = 110, 104
SHORT_NS = 50_000_000
DECODE_ERROR, UNKNOWN_CA = 50, 48
RUBBISH = b"GET / HTTP/1.0\r\n\r\n"


@pytest.fixture(params=["blocking", "event"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.fixture
def reset_connection() -> Iterator[socket.socket]:
    """A socket that resets its connection when it is closed."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    yield raw
    raw.close()


def test_a_silent_client_is_timed_out_and_others_are_served(mode: Mode, tmp_path: Path) -> None:
    tls, _ = software()
    with serving(tls, tmp_path, mode, timeout_ns=SHORT_NS) as served:
        with socket.create_connection(served.address) as silent:
            assert silent.recv(1) == b""
        greet(served.address, client_context())
        served.stop()
        first, second = served.rows()

    assert (first["layer"], first["code"]) == (LAYER["network"], ETIMEDOUT)
    assert first["ended_ns"] - first["opened_ns"] >= SHORT_NS
    assert (first["random"], first["version"]) == (0, 0)
    assert second["code"] == 0


def test_an_event_loop_serves_others_while_clients_are_silent(tmp_path: Path) -> None:
    tls, _ = software()
    with serving(tls, tmp_path, "event") as served, ExitStack() as silent:
        for _ in range(5):
            silent.enter_context(socket.create_connection(served.address))
        greet(served.address, client_context())
        silent.close()
        served.stop()
        rows = served.rows()

    assert rows["code"].tolist() == [NETWORK["closed"]] * 5 + [0]


def test_what_is_not_tls_is_called_so(mode: Mode, tmp_path: Path) -> None:
    tls, _ = software()
    with serving(tls, tmp_path, mode) as served:
        for rubbish in (RUBBISH, bytes(64)):
            with socket.create_connection(served.address) as raw:
                raw.sendall(rubbish)
                while raw.recv(64):
                    pass
        served.stop()
        rows = served.rows()

    assert {(row["layer"], row["code"]) for row in rows} == {(LAYER["tls"], TLS["not_tls"])}


def test_a_client_that_closes_or_resets_in_the_middle_is_a_matter_of_the_network(
    mode: Mode, reset_connection: socket.socket, tmp_path: Path
) -> None:
    tls, _ = software()
    with serving(tls, tmp_path, mode) as served:
        with socket.create_connection(served.address) as raw:
            raw.sendall(b"\x16\x03")
        greet(served.address, client_context())
        reset_connection.connect(served.address)
        reset_connection.sendall(b"\x16\x03")
        reset_connection.close()
        greet(served.address, client_context())
        served.stop()
        rows = served.rows()

    failed = [(row["layer"], row["code"]) for row in rows if row["code"]]
    assert failed == [(LAYER["network"], NETWORK["closed"]), (LAYER["network"], ECONNRESET)]


def test_versions_that_do_not_meet_are_named(mode: Mode, tmp_path: Path) -> None:
    tls, _ = software(version="1.3")
    with serving(tls, tmp_path, mode) as served:
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):  # and no reset that hides the alert
            greet(served.address, client_context("1.2"))
        served.stop()
        (row,) = served.rows()

    assert (row["layer"], row["code"]) == (LAYER["tls"], TLS["no_shared_version"])


def test_an_alert_of_the_client_is_received(mode: Mode, tmp_path: Path) -> None:
    tls, _ = software()
    strict = client_context()
    strict.verify_mode = ssl.CERT_REQUIRED
    with serving(tls, tmp_path, mode) as served:
        with pytest.raises(ssl.SSLCertVerificationError):
            greet(served.address, strict)
        served.stop()
        (row,) = served.rows()

    assert (row["layer"], row["code"]) == (LAYER["tls"], TLS["alert_received"] + UNKNOWN_CA)


def test_an_alert_of_the_server_s_own_is_sent(mode: Mode, tmp_path: Path) -> None:
    tls, _ = software()
    hello_of_one_byte = bytes.fromhex("1603010005 01000001 00".replace(" ", ""))
    with serving(tls, tmp_path, mode) as served:
        with socket.create_connection(served.address) as raw:
            raw.sendall(hello_of_one_byte)
            while raw.recv(64):
                pass
        served.stop()
        (row,) = served.rows()

    assert (row["layer"], row["code"]) == (LAYER["tls"], TLS["alert_sent"] + DECODE_ERROR)
