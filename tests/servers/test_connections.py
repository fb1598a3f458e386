"""From a log's entries to rows of connections: whose client each is, at which time, and how it failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.record.dtypes import BEGUN, CONNECTION, ENDED, LAYER, NETWORK, SIDE, TLS
from lab.servers.connections import failure, rows_by_pid
from lab.servers.model import Entry

MS = 1_000_000
S = 1_000_000_000
REALTIME_NS = 1_700_000_000 * S
"""CLOCK_REALTIME - CLOCK_MONOTONIC."""


def client(port: int, random: int, opened_ns: int, ended_ns: int = 0, vhost: int = 0) -> dict[str, int]:
    return {"port": port, "random": random, "opened_ns": opened_ns, "ended_ns": ended_ns, "vhost": vhost}


def clients(*rows: dict[str, int]) -> NDArray[Any]:
    filled = np.zeros(len(rows), CONNECTION)
    for place, row in enumerate(rows):
        for name, value in row.items():
            filled[name][place] = value
    return filled


def entry(port: int, at_ns: int, lasts_ns: int | None = MS, pid: int = 70, **more: Any) -> Entry:
    opened_ns = REALTIME_NS + at_ns
    ended_ns = None if lasts_ns is None else opened_ns + lasts_ns
    return Entry(**{"pid": pid, "port": port, "opened_ns": opened_ns, "ended_ns": ended_ns, "well": True, **more})


def rows(*entries: Entry, of: NDArray[Any], threads: dict[int, set[int]] | None = None) -> dict[int, NDArray[Any]]:
    return rows_by_pid(entries, of, REALTIME_NS, threads or {})


def test_a_row_has_its_client_s_random_and_host_and_the_log_s_own_times() -> None:
    found = rows(entry(4000, 2 * MS, tid=71), of=clients(client(4000, 123, MS, 5 * MS, vhost=1)))

    (row,) = found[70]
    assert (row["random"], row["vhost"], row["port"], row["tid"]) == (123, 1, 4000, 71)
    assert (row["opened_ns"], row["ended_ns"], row["state"], row["side"]) == (2 * MS, 3 * MS, ENDED, SIDE["server"])
    assert (row["step1_started_ns"], row["step1_ended_ns"], row["steps"]) == (2 * MS, 3 * MS, 1)


def test_where_the_log_has_whole_seconds_the_client_s_own_times_are_taken() -> None:
    one = client(4000, 123, 1_500 * MS, 1_502 * MS)
    (row,) = rows(entry(4000, S, 0, exact=False), of=clients(one))[70]

    assert (row["random"], row["opened_ns"], row["ended_ns"]) == (123, 1_500 * MS, 1_502 * MS)


def test_a_client_that_waited_long_for_an_accept_is_still_the_entry_s_own() -> None:
    """The kernel keeps connections while no process of a server is there to accept them."""
    waited = client(4000, 123, MS, 3_010 * MS)
    left = client(4001, 124, MS, 500 * MS)  # timed out, and its connection is accepted all the same
    found = rows(entry(4000, 3_000 * MS), entry(4001, 3_001 * MS), of=clients(waited, left))

    assert found[70]["random"].tolist() == [123, 124]


def test_a_port_that_comes_again_is_its_nearest_client_s() -> None:
    first, second = client(4000, 123, S, S + MS), client(4000, 124, 9 * S, 9 * S + MS)
    found = rows(entry(4000, S), entry(4000, 9 * S), of=clients(second, first))

    assert found[70]["random"].tolist() == [123, 124]


def test_each_client_is_taken_once() -> None:
    found = rows(entry(4000, S), entry(4000, S + MS), of=clients(client(4000, 123, S, S + MS)))

    assert found[70]["random"].tolist() == [123, 0]


@pytest.mark.parametrize("port_and_begin", [(4001, S), (4000, 3 * S + 1)], ids=["another port", "later than the entry"])
def test_a_connection_of_no_client_of_ours_keeps_no_random(port_and_begin: tuple[int, int]) -> None:
    port, begin_ns = port_and_begin
    (row,) = rows(entry(4000, S), of=clients(client(port, 123, begin_ns, begin_ns + MS)))[70]

    assert (row["random"], row["opened_ns"], row["ended_ns"]) == (0, S, S + MS)


def test_a_client_that_never_said_hello_is_nobody() -> None:
    (row,) = rows(entry(4000, S), of=clients(client(4000, 0, S, S + MS)))[70]

    assert row["random"] == 0


def test_rows_are_apart_by_process_and_ascend_in_time() -> None:
    given = (entry(4002, 3 * MS), entry(4001, 2 * MS, pid=80), entry(4000, MS))
    found = rows(*given, of=clients())

    assert {pid: each["port"].tolist() for pid, each in found.items()} == {70: [4000, 4002], 80: [4001]}
    assert found[70]["sequence"].tolist() == [0, 1]


def test_an_entry_without_an_end_is_only_begun() -> None:
    (row,) = rows(entry(4000, S, None), of=clients(client(4000, 123, S, 2 * S)))[70]

    assert (row["state"], row["ended_ns"], row["step1_ended_ns"]) == (BEGUN, 0, 0)


@pytest.mark.parametrize(("known", "tid"), [({71}, 71), ({71, 72}, 70), (set(), 70)])
def test_a_thread_that_the_log_does_not_name_is_the_only_one_or_the_first(known: set[int], tid: int) -> None:
    (row,) = rows(entry(4000, S), of=clients(), threads={70: known})[70]

    assert row["tid"] == tid


FAILURES: dict[str, tuple[dict[str, Any], tuple[str, int]]] = {
    "an alert that came in": ({"alert": 48, "code": 0x0A000418}, ("tls", TLS["alert_received"] + 48)),
    "an alert that was sent": ({"alert": 40, "alert_sent": True}, ("tls", TLS["alert_sent"] + 40)),
    "the token": ({"ckr": 0x101, "code": 0x41800101}, ("pkcs11", 0x101)),
    "OpenSSL": ({"code": 0x0A0000C1}, ("openssl", 0x0A0000C1)),
    "a client that left": ({}, ("network", NETWORK["closed"])),
}


@pytest.mark.parametrize(("said", "expected"), FAILURES.values(), ids=FAILURES)
def test_a_failure_has_a_layer_and_a_code(said: dict[str, Any], expected: tuple[str, int]) -> None:
    failed = entry(4000, S, well=False, **said)
    layer, code = LAYER[expected[0]], expected[1]

    assert failure(failed) == (layer, code)
    (row,) = rows(failed, of=clients())[70]
    assert (row["layer"], row["code"]) == (layer, code)


def test_a_log_without_connections_gives_no_rows() -> None:
    assert rows(of=clients(client(4000, 123, S))) == {}
