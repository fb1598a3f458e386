"""What a server cannot do, or must not be asked for, is said at once and by name. Keys are in memory here."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabFault
from lab.native.serving import Server, ServingError, Tls, code_text
from tests.native.serving import (
    CAPACITY,
    LONG_NS,
    certificate,
    client_context,
    greet,
    host_name,
    listener,
    private_key,
    public_key,
    serving,
    software,
)


def test_a_certificate_of_another_key_is_refused() -> None:
    tls = Tls("software")
    tls.key(0, private_key("ec"))
    with pytest.raises(ServingError, match=r"the TLS context cannot be made.*key values mismatch") as refused:
        tls.context(0, certificate(public_key(private_key("ec")), host_name(0)))

    assert (refused.value.layer, code_text(refused.value.code)) == (
        "openssl",
        "x509 certificate routines: key values mismatch",
    )


@pytest.mark.parametrize(
    ("what", "text"), [("key", "private key cannot be had"), ("host", "no such host"), ("context", "has no key")]
)
def test_what_cannot_be_made_says_why(what: str, text: str) -> None:
    tls = Tls("software")
    steps = {
        "key": lambda: tls.key(0, "no key"),
        "host": lambda: tls.key(1, private_key("ec")),
        "context": lambda: tls.context(0, "no certificate"),
    }
    with pytest.raises(ServingError, match=text):
        steps[what]()


def test_an_object_can_be_loaded_again_after_it_was_unloaded() -> None:
    tls, _ = software()
    tls.unload()
    assert tls.handshake_once().code != 0
    private = private_key("rsa")
    tls.load()
    tls.key(0, private)
    tls.context(0, certificate(public_key(private), host_name(0)))
    assert tls.handshake_once().code == 0
    tls.close()


def test_rows_that_cannot_be_made_are_a_fault_of_the_lab(tmp_path: Path) -> None:
    tls, _ = software()
    with pytest.raises(LabFault, match="No such file or directory"):
        Server(tmp_path / "missing", 1, CAPACITY, tls, LONG_NS)
    tls.close()


def test_a_listener_of_a_host_that_is_not_there_is_refused(tmp_path: Path) -> None:
    tls, _ = software()
    server = Server(tmp_path, 1, CAPACITY, tls, LONG_NS)
    with listener() as raw, pytest.raises(LabFault, match="Invalid argument"):
        server.listen("blocking", [(raw.fileno(), 1)])
    server.close()
    tls.close()


def test_a_ticket_key_of_another_length_is_refused() -> None:
    with pytest.raises(LabFault, match="80 bytes"):
        Tls("software", resumption="shared", ticket_key=b"short")


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_listener_that_is_none_any_more_is_a_fault_of_the_lab(hosts: int, tmp_path: Path) -> None:
    """And not a server that had nothing to do: it would be replaced by another one, for ever."""
    tls, _ = software(("ec",) * hosts)
    server = Server(tmp_path, 1, CAPACITY, tls, LONG_NS)
    raws = [listener() for _ in range(hosts)]
    server.listen("blocking", [(raw.fileno(), place) for place, raw in enumerate(raws)])
    for raw in raws:
        raw.close()
    with pytest.raises(LabFault, match="the server cannot serve"):
        server.run(0)
    server.close()
    tls.close()


def test_an_event_loop_is_for_one_thread(tmp_path: Path) -> None:
    tls, _ = software()
    server = Server(tmp_path, 1, CAPACITY, tls, LONG_NS)
    with listener() as raw:
        server.listen("event", [(raw.fileno(), 0)])
        with pytest.raises(LabFault, match="Invalid argument"):
            server.run(1)
    server.close()
    tls.close()


@pytest.fixture
def files() -> Iterator[None]:
    """Gives back the limit of open files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("files")
def test_a_server_counts_the_connections_that_it_had_no_file_for(tmp_path: Path) -> None:
    """An event loop: a thread that blocks in accept() has its next file already, and takes no second one meanwhile."""
    tls, _ = software()
    with serving(tls, tmp_path, "event") as served:
        greet(served.address, client_context())
        assert served.server.starved == 0
        # more than one, for the file of the client before may be given back while all others are being taken
        waiting = [socket.socket() for _ in range(3)]
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 + max(map(int, os.listdir("/proc/self/fd"))), hard))
        with open(os.devnull) as last:  # the lowest that is free, if any is
            taken = [last]
            try:
                while True:
                    taken.append(open(os.devnull))  # noqa: SIM115 - closed below, all together
            except OSError:
                pass
            for each in waiting:
                each.connect(served.address)
            while not served.server.starved:
                pass
            for file in taken:
                file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for each in waiting:
            each.close()
        served.stop()


def test_sessions_that_nobody_opened_are_no_pool() -> None:
    tls = Tls("direct")
    tls.load()
    for use in (1, 2):  # per thread, and a pool
        with pytest.raises(ServingError):
            tls.token(1, 0, (), use, (1,))
    tls.close()
