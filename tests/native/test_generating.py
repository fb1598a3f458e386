"""The generator of handshakes: what it begins, when, and what it writes down of handshakes that succeed."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lab.errors import LabFault
from lab.native.generating import Generator, Greeting, Host, socket_address
from lab.native.loops import wait_until
from lab.record.dtypes import ENDED, KIND, LAYER, PHASE, SIDE
from tests.native.answering import (
    NAME,
    Answer,
    Credential,
    credential,
    ends,
    greet,
    party,
    rush,
    say_nothing,
    serving,
    shake,
)
from tests.native.conftest import KEY

OK = {(LAYER["pkcs11"], 0)}
MS = 1_000_000
TIME_WAIT = "06"


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Credential:
    return credential(tmp_path_factory.mktemp("credential"))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_twenty_three_arrivals_are_twenty_three_handshakes_at_their_instants(
    trusted: Credential, version: str, tmp_path: Path
) -> None:
    arrivals = [i * MS for i in range(23)]
    release_ns = time.monotonic_ns() + 5 * MS
    with (
        serving(shake(trusted.context(version))) as server,
        party(tmp_path, greet(server.port, trusted.der, version=version)) as one,
    ):
        assert one.open_loop(arrivals, release_ns=release_ns) == 23
    rows, others = one.operations().rows, one.connections().rows
    assert server.accepted == len(rows) == len(others) == 23
    assert rows["intended_ns"].tolist() == [release_ns + arrival for arrival in arrivals]
    assert (rows["started_ns"] >= rows["intended_ns"]).all()
    assert rows["sequence"].tolist() == others["sequence"].tolist() == list(range(23))
    assert ends(rows) == ends(others) == OK
    assert set(rows["kind"]) == {KIND["handshake"]}
    assert (rows["state"] == ENDED).all()
    assert (others["state"] == ENDED).all()
    assert (rows["tid"] == threading.get_native_id()).all()


def test_both_rows_of_a_handshake_tell_one_story_in_order(trusted: Credential, tmp_path: Path) -> None:
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        one.open_loop([i * MS for i in range(10)], slots=3)
    rows, others = one.operations().rows, one.connections().rows
    assert (rows["started_ns"] <= others["opened_ns"]).all()
    assert (others["opened_ns"] <= others["step1_started_ns"]).all()
    assert (others["steps"] >= 1).all()
    for row in others:
        stamps = [row[f"step{step}_{edge}_ns"] for step in range(1, row["steps"] + 1) for edge in ("started", "ended")]
        assert stamps == sorted(stamps)
        assert stamps[-1] <= row["ended_ns"]
    assert (rows["ended_ns"] == others["ended_ns"]).all()
    assert (rows["thread"] == others["thread"]).all()
    assert rows["thread"].max() < 3
    assert set(others["side"]) == {SIDE["client"]}
    assert set(others["version"]) == {0x0304}
    assert not others["resumed"].any()


def test_random_and_port_are_those_that_the_server_sees(trusted: Credential, tmp_path: Path) -> None:
    context = trusted.context()
    context.keylog_filename = str(tmp_path / "keys.log")
    ports = set()

    def answer(end: socket.socket) -> socket.socket | None:
        ports.add(end.getpeername()[1])
        return shake(context)(end)

    with serving(answer) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        one.open_loop([0] * 5)
    logged = (tmp_path / "keys.log").read_text().splitlines()
    randoms = {line.split()[1] for line in logged if not line.startswith("#")}
    others = one.connections().rows
    assert set(others["random"].tolist()) == {int.from_bytes(bytes.fromhex(r)[:8], "little") for r in randoms}
    assert len(randoms) == 5
    assert set(others["port"].tolist()) == ports


def test_a_closed_loop_has_each_client_once_and_no_more(trusted: Credential, tmp_path: Path) -> None:
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        begun = one.closed_loop(200 * MS, slots=3)
    rows = one.operations().rows
    assert begun == len(rows) == server.accepted
    assert server.most_open <= 3
    assert set(rows["thread"]) == {0, 1, 2}
    assert (rows["intended_ns"] == rows["started_ns"]).all()
    assert ends(rows) == OK
    for client in range(3):
        mine = rows[rows["thread"] == client]
        assert (mine["started_ns"][1:] >= mine["ended_ns"][:-1]).all()


def test_what_is_intended_before_the_end_of_the_warm_up_is_warm_up(trusted: Credential, tmp_path: Path) -> None:
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        one.open_loop([0, 9 * MS, 10 * MS, 11 * MS], warmup_ns=10 * MS)
    assert one.operations().rows["phase"].tolist() == [PHASE["warmup"]] * 2 + [PHASE["measured"]] * 2


def test_a_stalled_server_cannot_hide_its_queue(trusted: Credential, tmp_path: Path) -> None:
    """With two slots, what arrives in a stall waits, in order, and its response counts from when it was intended."""
    arrivals = [i * MS for i in range(10)]
    release_ns = time.monotonic_ns()
    stalled_until_ns = release_ns + 50 * MS

    def answer(end: socket.socket) -> socket.socket | None:
        wait_until(stalled_until_ns)
        return shake(trusted.context())(end)

    with serving(answer) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        assert one.open_loop(arrivals, slots=2, release_ns=release_ns) == 10
        assert server.most_open <= 2
    rows = one.operations().rows
    assert rows["intended_ns"].tolist() == [release_ns + arrival for arrival in arrivals]
    assert (rows["started_ns"][:2] < stalled_until_ns).all()
    assert (rows["started_ns"][2:] >= stalled_until_ns).all()
    assert (np.diff(rows["started_ns"]) > 0).all()
    assert ends(rows) == OK


def test_slots_are_taken_in_the_order_in_which_they_were_freed(trusted: Credential, tmp_path: Path) -> None:
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        one.open_loop([i * 100 * MS for i in range(5)], slots=3)
    assert one.operations().rows["thread"].tolist() == [0, 1, 2, 0, 1]


def test_arrivals_that_are_not_begun_by_the_deadline_have_no_row(trusted: Credential, tmp_path: Path) -> None:
    release_ns = time.monotonic_ns()
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        begun = one.open_loop([0, 1 * MS, 10**15], release_ns=release_ns, give_up_ns=release_ns + 100 * MS)
    assert begun == len(one.operations().rows) == 2


def test_a_backlog_that_finds_no_slot_by_the_deadline_is_shed(trusted: Credential, tmp_path: Path) -> None:
    release_ns = time.monotonic_ns()
    with serving(say_nothing) as server, party(tmp_path, greet(server.port, trusted.der, timeout_ns=200 * MS)) as one:
        begun = one.open_loop([0, 1, 2, 3], slots=2, release_ns=release_ns, give_up_ns=release_ns + 20 * MS)
    assert begun == len(one.operations().rows) == 2


def state_of_thread(tid: int) -> str:
    """Its letter in proc(5): R is running, S sleeping."""
    return Path(f"/proc/self/task/{tid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("arrivals", [None, [0, 10**15]])
def test_a_stop_from_another_thread_ends_the_load(
    trusted: Credential, arrivals: list[int] | None, tmp_path: Path
) -> None:
    """In the open loop it has long to sleep by then, and is woken."""
    loop = threading.get_native_id()
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der)) as one:

        def stop() -> None:
            while not server.closed:
                pass
            while state_of_thread(loop) != "S":
                pass
            one.generator.stop()

        stopper = threading.Thread(target=stop)
        stopper.start()
        begun = one.open_loop(arrivals) if arrivals else one.closed_loop(10**15)
        stopper.join()
    assert begun == len(one.operations().rows) >= 1
    assert ends(one.operations().rows) == OK


def test_a_full_file_ends_the_load_and_is_counted(trusted: Credential, tmp_path: Path) -> None:
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der), 5) as one:
        begun = one.open_loop([0] * 9)
    assert begun == len(one.operations().rows) == len(one.connections().rows) == 5
    assert one.operations().lost == 1


def test_each_host_is_asked_in_turn_by_its_name(trusted: Credential, tmp_path: Path) -> None:
    context, asked = trusted.context(), []
    context.sni_callback = lambda _, name, __: asked.append(name)
    with serving(shake(context)) as server:
        hosts = tuple(Host(f"host-{i}.lab.test", "127.0.0.1", server.port, trusted.der) for i in range(3))
        with party(tmp_path, Greeting(hosts)) as one:
            one.open_loop([0] * 7, slots=1)
    assert one.operations().rows["vhost"].tolist() == one.connections().rows["vhost"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert asked == [f"host-{i % 3}.lab.test" for i in range(7)]


def test_a_host_may_have_an_address_of_ipv6(trusted: Credential, tmp_path: Path) -> None:
    with (
        serving(shake(trusted.context()), socket.AF_INET6) as server,
        party(tmp_path, Greeting((Host(NAME, "::1", server.port, trusted.der),))) as one,
    ):
        one.open_loop([0, 1])
    assert ends(one.operations().rows) == OK
    assert (one.connections().rows["port"] > 0).all()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_newest_session_of_a_client_and_a_host_is_offered(
    trusted: Credential, version: str, tmp_path: Path
) -> None:
    with serving(shake(trusted.context(version))) as server:
        hosts = tuple(Host(f"host-{i}.lab.test", "127.0.0.1", server.port, trusted.der) for i in range(2))
        with party(tmp_path, Greeting(hosts, version, resume=True)) as one:
            one.open_loop([0] * 6, slots=1)
    # a ticket of one host is a ticket of the other's context too, but is not offered to it
    assert one.connections().rows["resumed"].tolist() == [0, 0, 1, 1, 1, 1]
    assert ends(one.operations().rows) == OK


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_nothing_is_resumed_unless_it_is_asked_for(trusted: Credential, version: str, tmp_path: Path) -> None:
    with (
        serving(shake(trusted.context(version))) as server,
        party(tmp_path, greet(server.port, trusted.der, version=version)) as one,
    ):
        one.open_loop([0] * 4, slots=1)
    assert not one.connections().rows["resumed"].any()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_each_signature_that_comes_has_a_tag_of_its_own_and_a_resumed_session_has_none(
    trusted: Credential, version: str, tmp_path: Path
) -> None:
    """Whoever made it: this server's key is in no token."""
    with (
        serving(shake(trusted.context(version))) as server,
        party(tmp_path, greet(server.port, trusted.der, version=version, resume=True, tag_key=KEY)) as one,
    ):
        one.open_loop([0] * 6, slots=1)
        one.generator.prepare(2)  # and forgets its sessions
        one.open_loop([0], slots=2)
    others = one.connections().rows
    assert ends(others) == OK
    assert others["resumed"].tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert (others["key_use"] != 0).tolist() == [True, *[False] * 5, True]
    assert others["key_use"][0] != others["key_use"][-1]


def test_without_a_key_nothing_is_tagged_and_a_key_that_is_none_is_refused(trusted: Credential, tmp_path: Path) -> None:
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        one.open_loop([0] * 3, slots=1)
    assert not one.connections().rows["key_use"].any()
    for number, key in enumerate(("00", KEY + "0", KEY[:-1] + "g", "é" * 16)):
        (tmp_path / str(number)).mkdir()
        with (
            pytest.raises(LabFault, match="refuses its settings"),
            party(tmp_path / str(number), greet(1, trusted.der, tag_key=key)),
        ):
            pass


def wait_for_close_notify(context: ssl.SSLContext) -> tuple[list[str], Answer]:
    """An answer that closes only after the client has, and what it saw."""
    seen: list[str] = []

    def answer(end: socket.socket) -> None:
        with context.wrap_socket(end, server_side=True, suppress_ragged_eofs=False) as session:
            try:
                seen.append("close_notify" if session.recv(1) == b"" else "data")
            except ssl.SSLEOFError:
                seen.append("end of file")

    return seen, answer


def test_a_server_that_is_not_the_lab_s_is_told_that_the_client_closes(trusted: Credential, tmp_path: Path) -> None:
    seen, answer = wait_for_close_notify(trusted.context())
    with (
        serving(answer) as server,
        party(tmp_path, greet(server.port, trusted.der, closes_first=True, timeout_ns=10**15)) as one,
    ):
        one.open_loop([0] * 3, slots=1)
    assert seen == ["close_notify"] * 3


def other_end(end: socket.socket) -> socket.socket:
    """The client's socket, which is of this process as well: a duplicate of it."""
    for name in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # no longer open
            if not os.readlink(name).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(name.name)))
            with suppress(OSError):  # connected to nobody
                if found.getsockname() == end.getpeername() and found.getpeername() == end.getsockname():
                    return found
            found.close()
    raise AssertionError("the client has no such socket")


def test_a_client_that_closes_first_does_not_wait_until_its_last_message_is_acknowledged(
    trusted: Credential, tmp_path: Path
) -> None:
    """Nagle's algorithm would keep its close_notify for as long as a server that has nothing to say delays its ACK."""
    without_delay: list[bool] = []
    shaken = shake(trusted.context())

    def answer(end: socket.socket) -> None:
        with other_end(end) as client:
            without_delay.append(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
        shaken(end)

    with serving(answer) as server, party(tmp_path, greet(server.port, trusted.der, closes_first=True)) as one:
        one.open_loop([0] * 3, slots=1)
    assert without_delay == [True] * 3


def time_waits(port: int, clients: set[int]) -> int:
    """Connections between the port and its clients' that wait for stray packets; proc(5): addresses, then state."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    pairs = [{int(address.rpartition(":")[2], 16) for address in line[1:3]} for line in lines if line[3] == TIME_WAIT]
    return sum({port, client} in pairs for client in clients)


@pytest.mark.parametrize("closes_first", [False, True])
def test_nobody_is_left_waiting_for_stray_packets(trusted: Credential, closes_first: bool, tmp_path: Path) -> None:
    """In TLS 1.2 nothing is left unread, which would make any closing a reset."""
    context = trusted.context("1.2")
    answer = wait_for_close_notify(context)[1] if closes_first else shake(context)
    with (
        serving(answer) as server,
        party(tmp_path, greet(server.port, trusted.der, version="1.2", closes_first=closes_first)) as one,
    ):
        one.open_loop([0] * 20)
    assert ends(one.operations().rows) == OK
    assert time_waits(server.port, set(one.connections().rows["port"].tolist())) == 0


def test_a_second_load_of_one_generator_begins_anew(trusted: Credential, tmp_path: Path) -> None:
    with serving(shake(trusted.context())) as server, party(tmp_path, greet(server.port, trusted.der)) as one:
        assert one.open_loop([0, 1], slots=2) == 2
        assert one.open_loop([0, 1, 2], slots=3) == 3
    assert one.operations().rows["sequence"].tolist() == [0, 1, 0, 1, 2]


def test_misuse_is_the_lab_s_fault(trusted: Credential, tmp_path: Path) -> None:
    with pytest.raises(LabFault, match="no-such-host"):
        socket_address("no-such-host.invalid", 1)
    (tmp_path / "a").mkdir()
    with (
        pytest.raises(LabFault, match="refuses its settings"),
        party(tmp_path / "a", greet(1, None, trust=str(tmp_path / "missing.pem"))),
    ):
        pass
    with pytest.raises(LabFault, match="No such file"):
        Generator(tmp_path / "missing", 1, 10)
    with party(tmp_path, greet(1, trusted.der)) as one, pytest.raises(LabFault, match="refuses its load"):
        one.generator.run(rush(0))
