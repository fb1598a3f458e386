"""Which connection a signing call was made for, told by the signature that came out of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lab.analysis.handshakes import HandshakeFacts
from lab.analysis.signed import ABROAD, UNKNOWN, Signed, proven
from lab.analysis.stories import Clients, clients_of, owners, partners
from lab.record.columns import Table
from tests.trial_builder import TrialBuilder, generator, record, worker

SERVER, CLIENT = 1, 9


def joined(builder: TrialBuilder, server: int = SERVER) -> tuple[Table, Clients, Any]:
    connections = builder.connections_of(CLIENT)
    operations = {name: column[builder.operations["process"] == CLIENT] for name, column in builder.operations.items()}
    clients = Clients.of([clients_of(operations, connections)])
    served = builder.connections_of(server)
    return served, clients, partners(clients, served)


def told(builder: TrialBuilder, server: int = SERVER) -> list[int]:
    """Of each call of the server, what its signature proves."""
    _, clients, partner = joined(builder, server)
    return proven(builder.process(server), Signed.of(clients.tag), partner, clients.tag.size).tolist()


def owned(builder: TrialBuilder, server: int = SERVER) -> list[int]:
    """Of each call of the server, its row in the end."""
    served, clients, partner = joined(builder, server)
    calls = builder.process(server)
    return owners(served, calls, proven(calls, Signed.of(clients.tag), partner, clients.tag.size)).tolist()


def crowd(*tags: int, server: int = SERVER) -> TrialBuilder:
    """Connections of one thread that are all open until 90 ms, as a log tells them; clients got these tags."""
    builder = TrialBuilder()
    for number, tag in enumerate(tags):
        builder.operation(CLIENT, number, kind="handshake", lasts=95)
        builder.connection(CLIENT, "client", random=10 + number, operation=number, opened=0.5, ended=95, tag=tag)
        builder.connection(
            server, "server", random=10 + number, opened=0.6 + number / 100, ended=90, steps=((0.6 + number / 100, 90),)
        )
    return builder


def facts(builder: TrialBuilder, *workers: int) -> HandshakeFacts:
    planned = int(np.count_nonzero(builder.operations["process"] == CLIENT))
    found = builder.examine(record(*map(worker, workers or (SERVER,)), generator(CLIENT, planned))).handshakes
    assert found is not None
    return found


def test_calls_of_connections_that_are_open_at_a_time_in_one_thread_go_to_whose_signature_they_made() -> None:
    builder = crowd(71, 72, 73)
    for tag in (73, 71, 72):
        builder.sign(tag=tag)
    assert owned(builder) == [2, 2, 0, 0, 1, 1]
    without = crowd(0, 0, 0)
    for tag in (73, 71, 72):
        without.sign(tag=tag)
    assert owned(without) == [2] * 6  # time alone takes the connection that was accepted last


def test_the_time_in_the_token_is_that_of_the_connection_s_own_calls() -> None:
    builder = crowd(71, 72)
    builder.call("C_Sign", at=10, until=14, tag=72).call("C_Sign", at=20, until=21, tag=71)
    assert sorted(facts(builder).parts["token"].values_ns.tolist()) == [1_000_000, 4_000_000]


def test_with_a_signature_go_the_calls_of_its_thread_and_session_since_c_sign_init() -> None:
    builder = crowd(71)
    builder.call("C_SignInit", session=5)  # came to nothing
    builder.call("C_SignInit", session=5).call("C_SignInit", session=6).call("C_SignUpdate", session=5, tag=3)
    builder.call("C_SignUpdate", session=5, tid=7).call("C_GetSessionInfo", session=5).call("C_Login", session=5)
    builder.call("C_Sign", session=5)  # asks for the length
    builder.call("C_SignFinal", session=5, tag=71).call("C_SignUpdate", session=5).call("C_SignFinal", session=6, tag=4)
    assert told(builder) == [-1, 0, -1, 0, -1, -1, 0, 0, 0, -1, -1]


def test_a_failed_call_between_does_not_take_another_signature_s_calls() -> None:
    builder = crowd(71, 72).sign(tag=71).call("C_Sign", session=5, ckr=0x91).sign(tag=72)
    assert told(builder) == [0, 0, UNKNOWN, 1, 1]


def test_a_tag_that_two_clients_got_or_two_calls_gave_proves_nothing() -> None:
    """A token that repeats a nonce: time has to tell."""
    assert told(crowd(71, 71).sign(tag=71)) == [UNKNOWN, UNKNOWN]
    builder = crowd(71, 72).sign(tag=71).sign(tag=71).sign(tag=72)
    assert told(builder) == [UNKNOWN] * 4 + [1, 1]
    assert owned(builder) == [1] * 6


def test_a_call_for_a_connection_of_another_process_is_not_given_away_by_time() -> None:
    builder = crowd(71, 72)
    builder.operation(CLIENT, 2, kind="handshake", lasts=95)
    builder.connection(CLIENT, "client", random=50, operation=2, opened=0.5, ended=95, tag=73)
    builder.connection(2, "server", random=50, opened=1, ended=90, steps=((1, 90),))
    builder.sign(tag=73)
    assert told(builder) == [ABROAD, ABROAD]
    assert owned(builder) == [-1, -1]
    found = facts(builder, 1, 2)
    assert (found.should, found.signed, found.same_process) == (3, 1, 0)


def test_a_signature_that_no_client_got_belongs_where_it_was_in_time() -> None:
    builder = crowd(0).sign(tag=71)
    assert told(builder) == [UNKNOWN, UNKNOWN]
    assert owned(builder) == [0, 0]


@pytest.mark.parametrize("function", ["C_Sign", "C_SignFinal", "C_SignMessage", "C_SignMessageNext"])
def test_a_signature_is_found_whichever_function_it_came_out_of(function: str) -> None:
    found = facts(crowd(71).call(function, tag=71))
    assert (found.should, found.signed, found.same_process) == (1, 1, 1)


def test_random_output_and_parts_that_are_signed_are_no_signatures() -> None:
    builder = crowd(71, 72).call("C_GenerateRandom", tag=71).call("C_SignUpdate", tag=72)
    found = facts(builder)
    assert (found.should, found.signed) == (2, 0)
    assert told(builder) == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize(("tid", "same"), [(1000 + SERVER, 1), (55, 0), (0, 1)])
def test_the_call_is_one_of_the_row_s_thread_where_the_row_has_one(tid: int, same: int) -> None:
    builder = crowd(71).sign(tag=71)
    for row in builder.rows_of_connections(SERVER):
        row["tid"] = tid
    found = facts(builder)
    assert (found.signed, found.same_process) == (1, same)


def test_a_signature_by_a_process_that_serves_nobody_is_found_but_not_in_the_server() -> None:
    found = facts(crowd(71).sign(7, tag=71), 1, 7)
    assert (found.should, found.signed, found.same_process) == (1, 1, 0)


def test_handshakes_that_failed_or_have_no_tag_should_not_be_found() -> None:
    builder = crowd(71, 0, 73).sign(tag=71).sign(tag=73)
    builder.operation(CLIENT, 3, kind="handshake", outcome="fail", layer="tls", code=2)
    builder.connection(CLIENT, "client", random=60, operation=3, opened=1, ended=2, outcome="fail", tag=74)
    builder.connection(SERVER, "server", random=60, opened=1, ended=2, steps=((1, 2),))
    found = facts(builder.sign(tag=74))
    assert (found.should, found.signed, found.same_process) == (2, 2, 2)


def test_a_key_that_is_not_in_the_token_leaves_tags_without_calls() -> None:
    found = facts(crowd(71, 72).call("C_GetInfo"))
    assert (found.should, found.signed, found.same_process) == (2, 0, 0)


def test_what_a_log_tells_too_roughly_gives_no_negative_time() -> None:
    """The call began before the accept that the log has."""
    builder = TrialBuilder().operation(CLIENT, kind="handshake", lasts=20)
    builder.connection(CLIENT, "client", random=1, operation=0, opened=0.5, ended=20, tag=71)
    builder.connection(SERVER, "server", random=1, opened=10, ended=12, steps=((10, 12),))
    found = facts(builder.call("C_Sign", at=5, until=9, tag=71))
    parts = {part: lasted.values_ns.tolist() for part, lasted in found.parts.items()}
    assert parts["token"] == [2_000_000]
    assert parts["software"] == [0]
    assert sum(values[0] for values in parts.values()) == 20_000_000


@pytest.mark.parametrize("seed", range(20))
def test_random_crowds_are_told_as_a_loop_would_tell_them(seed: int) -> None:
    chance = np.random.default_rng(seed)
    size = 40
    tags = chance.integers(0, 60, size).tolist()  # some twice, some none
    builder = crowd(*tags)
    made: list[tuple[str, int, int, int]] = []
    for _ in range(150):
        name = str(chance.choice(["C_SignInit", "C_SignUpdate", "C_Sign", "C_SignFinal", "C_Login", "C_GetInfo"]))
        tag = int(chance.integers(0, 90)) if name in ("C_Sign", "C_SignFinal") else 0
        made.append((name, int(chance.integers(5, 7)), int(chance.integers(1, 3)), tag))
        builder.call(name, session=made[-1][1], tid=made[-1][2], tag=tag)
    given = [tag for *_, tag in made]
    wanted = [UNKNOWN] * len(made)
    for place, (_, session, tid, tag) in enumerate(made):
        if not tag or tags.count(tag) != 1 or given.count(tag) != 1:
            continue
        wanted[place] = tags.index(tag)
        for before in range(place - 1, -1, -1):
            name, *whose, other = made[before]
            if whose != [session, tid] or name == "C_GetInfo":
                continue
            if other:
                break
            wanted[before] = tags.index(tag)
            if name == "C_SignInit":
                break
    assert told(builder) == wanted
