"""The generator of handshakes: how it names what goes wrong, and that it goes on."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lab.native.generating import Greeting, Host
from lab.native.loops import wait_until
from lab.record.dtypes import ENDED, LAYER, NETWORK, TLS
from tests.native.answering import (
    NAME,
    RESET_ON_CLOSE,
    Answer,
    Credential,
    credential,
    ends,
    greet,
    network,
    party,
    reset,
    say,
    say_nothing,
    serving,
    shake,
    tls,
)

OK = {(LAYER["pkcs11"], 0)}
MS = 1_000_000
HANDSHAKE_FAILURE, UNEXPECTED_MESSAGE, UNKNOWN_CA = 40, 10, 48  # RFC 8446, section 6
ALERT = bytes([21, 3, 3, 0, 2, 2, HANDSHAKE_FAILURE])  # record type, version, length; fatal
FINISHED_BEFORE_ITS_TIME = bytes([22, 3, 3, 0, 4, 20, 0, 0, 0])


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Credential:
    return credential(tmp_path_factory.mktemp("credential"))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Of a socket that is bound and does not listen, so that nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


ANSWERS: dict[str, tuple[Answer, set[tuple[int, int]]]] = {
    "reset": (reset, network(errno.ECONNRESET)),
    "end of file": (say(b""), network(NETWORK["closed"])),
    "end of file in a record": (say(FINISHED_BEFORE_ITS_TIME[:7]), network(NETWORK["closed"])),
    "silence": (say_nothing, network(errno.ETIMEDOUT)),
    "an alert": (say(ALERT), tls(TLS["alert_received"] + HANDSHAKE_FAILURE)),
    "HTTP": (say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), tls(TLS["not_tls"])),
    "a message out of its place": (say(FINISHED_BEFORE_ITS_TIME), tls(TLS["alert_sent"] + UNEXPECTED_MESSAGE)),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_what_a_server_answers_has_its_name(trusted: Credential, what: str, tmp_path: Path) -> None:
    answer, expected = ANSWERS[what]
    with (
        serving(answer) as server,
        party(tmp_path, greet(server.port, trusted.der, timeout_ns=100 * MS)) as one,
    ):
        one.open_loop([0, 1, 2], slots=2)
    rows, others = one.operations().rows, one.connections().rows
    assert len(rows) == len(others) == 3
    assert ends(rows) == ends(others) == expected
    assert (rows["state"] == ENDED).all()
    assert (others["state"] == ENDED).all()
    assert (rows["ended_ns"] == others["ended_ns"]).all()
    assert (others["opened_ns"] > 0).all()
    assert (others["random"] > 0).all()
    assert not others["version"].any()


def test_nobody_at_the_port_is_a_refusal_and_no_step(trusted: Credential, closed_port: int, tmp_path: Path) -> None:
    with party(tmp_path, greet(closed_port, trusted.der)) as one:
        one.open_loop([0, 1, 2])
    others = one.connections().rows
    assert ends(one.operations().rows) == ends(others) == network(errno.ECONNREFUSED)
    assert not others["opened_ns"].any()
    assert not others["steps"].any()
    assert not others["random"].any()


def test_a_client_that_failed_pauses_before_it_tries_again(
    trusted: Credential, closed_port: int, tmp_path: Path
) -> None:
    with party(tmp_path, greet(closed_port, trusted.der)) as one:
        one.closed_loop(50 * MS, slots=2)
    rows = one.operations().rows
    for client in range(2):
        mine = rows[rows["thread"] == client]
        assert len(mine) > 1
        assert (mine["started_ns"][1:] - mine["ended_ns"][:-1] >= MS).all()


def test_the_pause_of_one_client_does_not_hold_the_others(trusted: Credential, tmp_path: Path) -> None:
    """One host refuses by a reset; the clients between go on: a pause that held the loop would cost one per failure."""
    with serving(shake(trusted.context())) as good, serving(reset) as bad:
        hosts = tuple(Host(NAME, "127.0.0.1", port, trusted.der) for port in (good.port, bad.port))
        with party(tmp_path, Greeting(hosts)) as one:
            one.closed_loop(100 * MS, slots=4)
    rows = one.operations().rows
    assert ends(rows[rows["vhost"] == 0]) == OK
    assert ends(rows[rows["vhost"] == 1]) == network(errno.ECONNRESET)


@contextmanager
def crowded() -> Iterator[tuple[socket.socket, int]]:
    """A listener whose queue is full, so that the kernel drops further connections until it accepts; and its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as first:
        port = int(listener.getsockname()[1])
        first.connect(("127.0.0.1", port))
        yield listener, port


def test_a_connection_that_is_not_opened_in_time_has_no_step(trusted: Credential, tmp_path: Path) -> None:
    with crowded() as (_, port), party(tmp_path, greet(port, trusted.der, timeout_ns=50 * MS)) as one:
        one.open_loop([0, 1])
    others = one.connections().rows
    assert ends(one.operations().rows) == ends(others) == network(errno.ETIMEDOUT)
    assert not others["opened_ns"].any()
    assert not others["steps"].any()


def test_a_connection_that_is_opened_late_is_shaken_then(trusted: Credential, tmp_path: Path) -> None:
    """The first packet is dropped and sent again after a second, as over a network that loses it."""
    with crowded() as (listener, port), party(tmp_path, greet(port, trusted.der)) as one:

        def accept() -> None:
            wait_until(time.monotonic_ns() + 50 * MS)
            listener.accept()[0].close()
            shaken = shake(trusted.context())(listener.accept()[0])
            assert shaken
            shaken.close()

        accepting = threading.Thread(target=accept)
        accepting.start()
        one.open_loop([0])
        accepting.join()
    rows, others = one.operations().rows, one.connections().rows
    assert ends(rows) == OK
    assert (others["opened_ns"] >= rows["started_ns"] + 50 * MS).all()
    assert (others["port"] > 0).all()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_any_certificate_but_the_pinned_one_is_wrong(trusted: Credential, version: str, tmp_path: Path) -> None:
    other = credential(tmp_path)
    with (
        serving(shake(trusted.context(version))) as server,
        party(tmp_path, greet(server.port, other.der, version=version)) as one,
    ):
        one.open_loop([0, 1])
    assert ends(one.operations().rows) == ends(one.connections().rows) == tls(TLS["wrong_certificate"])


def through_one_that_tampers(port: int) -> Answer:
    """Forwards what a server of TLS 1.2 says, with the last byte of its signature changed."""
    server_key_exchange = 12

    def answer(end: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server, server.makefile("rb") as records:
            server.sendall(end.recv(4096))
            while head := records.read(5):
                body = bytearray(records.read(int.from_bytes(head[3:], "big")))
                if body[0] == server_key_exchange:
                    body[-1] ^= 1
                end.sendall(head + body)
                if body[0] == server_key_exchange:
                    return

    return answer


def test_a_signature_that_is_not_the_key_s_is_bad(trusted: Credential, tmp_path: Path) -> None:
    with (
        serving(shake(trusted.context("1.2"))) as server,
        serving(through_one_that_tampers(server.port)) as tampering,
        party(tmp_path, greet(tampering.port, trusted.der, version="1.2")) as one,
    ):
        one.open_loop([0])
    assert ends(one.operations().rows) == tls(TLS["bad_signature"])


def test_a_server_of_another_version_says_so(trusted: Credential, tmp_path: Path) -> None:
    protocol_version = 70
    with (
        serving(shake(trusted.context("1.3"))) as server,
        party(tmp_path, greet(server.port, trusted.der, version="1.2")) as one,
    ):
        one.open_loop([0])
    assert ends(one.operations().rows) == tls(TLS["alert_received"] + protocol_version)


def test_a_server_without_the_asked_key_exchange_says_so(trusted: Credential, tmp_path: Path) -> None:
    with (
        serving(shake(trusted.context("1.2"))) as server,
        party(tmp_path, greet(server.port, trusted.der, version="1.2", key_exchange="rsa")) as one,
    ):
        one.open_loop([0])  # its key is of an elliptic curve
    assert ends(one.operations().rows) == tls(TLS["alert_received"] + HANDSHAKE_FAILURE)


CHAINS: dict[str, tuple[Callable[[Path, Credential], str | None], str, set[tuple[int, int]]]] = {
    "trusted": (lambda _, own: str(own.pem), NAME, OK),
    "trusted, by its address": (lambda _, own: str(own.pem), "127.0.0.1", OK),
    "another name": (lambda _, own: str(own.pem), "other.lab.test", tls(TLS["wrong_certificate"])),
    "another address": (lambda _, own: str(own.pem), "127.0.0.9", tls(TLS["wrong_certificate"])),
    "another authority": (lambda folder, _: str(credential(folder).pem), NAME, tls(TLS["wrong_certificate"])),
    "the system's authorities": (lambda _, __: None, NAME, tls(TLS["wrong_certificate"])),
}


@pytest.mark.parametrize("what", CHAINS)
def test_a_server_that_is_not_the_lab_s_is_verified_by_chain_and_name(
    trusted: Credential, what: str, tmp_path: Path
) -> None:
    trust, name, expected = CHAINS[what]
    with serving(shake(trusted.context())) as server:
        hosts = (Host(name, "127.0.0.1", server.port),)
        greeting = Greeting(hosts, trust=trust(tmp_path, trusted), closes_first=True)
        with party(tmp_path, greeting) as one:
            one.open_loop([0, 1])
    assert ends(one.operations().rows) == expected


def test_a_server_that_is_stopped_costs_each_handshake_its_patience_and_no_more(
    trusted: Credential, tmp_path: Path
) -> None:
    """The kernel goes on accepting for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])  # free again in a moment
    command = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-cert", trusted.pem]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_it_listens(port)
        os.kill(server.pid, signal.SIGSTOP)
        with party(tmp_path, greet(port, trusted.der, timeout_ns=50 * MS)) as one:
            one.closed_loop(20 * MS, slots=3)
    finally:
        server.kill()
        server.wait()
        if server.stdin:
            server.stdin.close()
    rows, others = one.operations().rows, one.connections().rows
    assert len(rows) == 3
    assert ends(rows) == ends(others) == network(errno.ETIMEDOUT)
    assert (rows["ended_ns"] - rows["started_ns"] >= 50 * MS).all()
    assert (others["opened_ns"] > 0).all()


def until_it_listens(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise AssertionError("openssl s_server does not listen")


def test_a_server_that_never_closes_costs_its_client_the_patience(trusted: Credential, tmp_path: Path) -> None:
    context = trusted.context()
    context.num_tickets = 0

    def answer(end: socket.socket) -> socket.socket:
        session = context.wrap_socket(end, server_side=True)
        with suppress(OSError):
            session.recv(1)  # until the client loses its patience
        return session

    with serving(answer) as server, party(tmp_path, greet(server.port, trusted.der, timeout_ns=300 * MS)) as one:
        assert one.open_loop([0, 1, 2], slots=2) == 3
    assert ends(one.operations().rows) == OK
