"""Intruders: when they come, how they behave, and that they leave nothing behind."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from lab.errors import LabFault
from lab.record.order import HostOrder, IntrudersOrder
from lab.worker.intruders import RUBBISH, Intruders, client_hello, visits
from tests.native.answering import Answer, credential, serving
from tests.worker.test_generator import MS, tls_order


def test_visits_of_each_manner_are_spread_evenly_over_the_measured_load() -> None:
    planned = visits(IntrudersOrder(silent=4, reset=1), hosts=2, warmup_ns=1000, duration_ns=800)
    assert [visit.at_ns for visit in planned if visit.manner == "silent"] == [1100, 1300, 1500, 1700]
    assert [visit.at_ns for visit in planned if visit.manner == "reset"] == [1400]
    assert [visit.host for visit in planned] == [0, 1, 0, 1, 0]
    assert visits(IntrudersOrder(), 1, 1000, 800) == []


def meet(intruders: IntrudersOrder, answer: Answer, enough: threading.Event, **changes: object) -> int:
    """Has them come within 10 ms, and sends them away when it is enough. Returns how many tried."""
    with serving(answer) as server:
        hosts = (HostOrder("host-0.lab.test", "127.0.0.1", "", ""),)
        order = tls_order(server.port, "", intruders=intruders, hosts=hosts, timeout_ns=100 * MS, **changes)
        group = Intruders(order, 0, 10 * MS, time.monotonic_ns() + 60_000 * MS)
        tried: list[int] = []
        thread = threading.Thread(target=lambda: tried.append(group.run(time.monotonic_ns())))
        thread.start()
        assert enough.wait(20)
        group.stop()
        thread.join()
    return tried[0]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_mismatch_has_nothing_in_common_with_the_server(version: str, tmp_path: Path) -> None:
    context = credential(tmp_path).context(version)
    said: list[str | None] = []
    enough = threading.Event()

    def answer(end: socket.socket) -> None:
        try:
            context.wrap_socket(end, server_side=True)
        except ssl.SSLError as error:
            said.append(error.reason)
        enough.set()

    assert meet(IntrudersOrder(mismatch=1), answer, enough, version=version) == 1
    assert said == ["NO_SHARED_CIPHER" if version == "1.2" else "UNSUPPORTED_PROTOCOL"]


def test_rubbish_is_no_record_of_tls(tmp_path: Path) -> None:
    context = credential(tmp_path).context()
    said: list[str | None] = []
    enough = threading.Event()

    def answer(end: socket.socket) -> None:
        said.append(str(end.recv(len(RUBBISH), socket.MSG_PEEK), "ascii"))
        try:
            context.wrap_socket(end, server_side=True)
        except ssl.SSLError as error:
            said.append(error.reason)
        enough.set()

    assert meet(IntrudersOrder(rubbish=1), answer, enough) == 1
    assert said == [RUBBISH.decode(), "WRONG_VERSION_NUMBER"]


def test_a_reset_comes_in_the_middle_of_the_client_hello() -> None:
    got: list[bytes] = []
    enough = threading.Event()

    def answer(end: socket.socket) -> None:
        try:
            while heard := end.recv(4096):
                got.append(heard)
        except ConnectionResetError:
            got.append(b"reset")
        enough.set()

    assert meet(IntrudersOrder(reset=1), answer, enough) == 1
    assert got[-1] == b"reset"
    record = b"".join(got[:-1])
    promised = int.from_bytes(record[3:5], "big")  # RFC 8446, section 5.1
    assert 0 < len(record) - 5 < promised


def test_the_silent_leave_a_server_that_does_not_close_upon_them() -> None:
    enough = threading.Event()
    heard: list[bytes] = []

    def answer(end: socket.socket) -> None:
        if len(heard) == 0:
            enough.set()
        try:
            heard.append(end.recv(1))
        except ConnectionResetError:
            heard.append(b"reset")

    assert meet(IntrudersOrder(silent=1), answer, enough) == 1
    assert heard == [b"reset"]


def test_the_silent_are_held_beyond_the_load_until_the_server_closes() -> None:
    enough, heard = threading.Event(), []

    def answer(end: socket.socket) -> None:
        enough.set()  # the load is over as soon as it is accepted
        end.settimeout(0.05)
        try:
            heard.append(end.recv(1))
        except TimeoutError:
            heard.append(b"held")

    assert meet(IntrudersOrder(silent=1), answer, enough) == 1
    assert heard == [b"held"]


def test_all_come_although_the_load_is_over_before() -> None:
    came = []
    enough = threading.Event()
    enough.set()
    assert meet(IntrudersOrder(reset=3), lambda end: came.append(end.recv(1)), enough) == 3


def test_nothing_is_left_open() -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    enough = threading.Event()
    count = 0

    def answer(end: socket.socket) -> None:
        nonlocal count
        count += 1
        if count == 6:
            enough.set()
        end.recv(4096)

    assert meet(IntrudersOrder(2, 2, 0, 2), answer, enough) == 6
    assert open_files() == before


def test_a_client_hello_is_fresh_each_time() -> None:
    assert client_hello("1.3", shared=True) != client_hello("1.3", shared=True)


def test_intruders_that_cannot_all_come_are_a_fault_of_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    order = tls_order(1, "", intruders=IntrudersOrder(silent=3))
    none_came = Intruders(order, 0, 10 * MS, give_up_ns=0)
    none_came.stop()
    assert none_came.run(time.monotonic_ns()) == 0
    with pytest.raises(LabFault, match="only 0 of 3 intruders came"):
        none_came.check()

    def no_more(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    broken = Intruders(order, 0, 10 * MS, time.monotonic_ns() + 60_000 * MS)
    monkeypatch.setattr(socket, "socket", no_more)
    broken.stop()
    broken.run(time.monotonic_ns())
    with pytest.raises(LabFault, match="the intruders gave up: Too many open files"):
        broken.check()
