"""One story per handshake: what joins, and where its time went, to the nanosecond."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.analysis.calls import Origin, ProcessCalls
from lab.analysis.stories import PARTS, Clients, owners, partners, parts_of
from lab.record.columns import CALLS, CONNECTIONS
from lab.record.dtypes import ENDED, SIDE
from tests.trial_builder import TrialBuilder, generator, record, worker


def split(builder: TrialBuilder, **fields: Any) -> dict[str, float | None]:
    """Means of the parts, in ms."""
    facts = builder.examine(record(worker(1), generator(9, len(builder.operations["process"])), **fields))
    assert facts.handshakes is not None
    return {part: lasted.mean_ms for part, lasted in facts.handshakes.parts.items()}


def test_the_time_of_a_handshake_is_split_without_a_rest() -> None:
    found = split(TrialBuilder().handshake(77, at=10, lag=3))
    assert found == {"late": 3, "accept": 1, "waiting": 0.5, "software": 0.5, "token": 2, "back": 1}
    assert sum(value or 0 for value in found.values()) == 8


def test_what_the_server_does_after_the_client_s_end_does_not_count() -> None:
    builder = TrialBuilder().operation(9, kind="handshake", lasts=5)
    builder.connection(9, "client", random=7, operation=0, opened=0.5, ended=5)
    builder.connection(1, "server", random=7, opened=1, ended=9, steps=((1, 2), (4, 8)))
    builder.call("C_Sign", 1, at=4.5, until=6).call("C_CloseSession", 1, at=6.5, until=7)
    assert split(builder) == {"late": 0, "accept": 1, "waiting": 2, "software": 1.5, "token": 0.5, "back": 0}


def test_calls_count_for_the_connection_in_whose_step_they_began_on_its_thread() -> None:
    builder = TrialBuilder()
    for client, (random, tid) in enumerate(((7, 50), (8, 51))):
        builder.operation(9, client, kind="handshake", lasts=5)
        builder.connection(9, "client", random=random, operation=client, opened=0.5, ended=5)
        builder.connection(1, "server", random=random, opened=1, ended=4, steps=((1, 4),), tid=tid)
    builder.call("C_Sign", 1, at=2, until=3, tid=50).call("C_Sign", 1, at=0.2, until=0.7, tid=51)
    owner = owners(builder.connections_of(1), builder.process(1))
    assert owner.tolist() == [-1, 0]  # calls in the order of their start
    assert split(builder)["token"] == 0.5


def test_an_event_loop_s_other_connections_are_waiting() -> None:
    """One thread: while the first connection signs for 3 ms, the second has its ClientHello in the queue."""
    builder = TrialBuilder()
    for client, (random, begin, end) in enumerate(((7, 1, 4), (8, 4, 5))):
        builder.operation(9, client, kind="handshake", lasts=6)
        builder.connection(9, "client", random=random, operation=client, opened=0.5, ended=6)
        builder.connection(1, "server", random=random, opened=1, ended=end, steps=((begin, end),))
    builder.call("C_Sign", 1, at=1, until=4).call("C_Sign", 1, at=4, until=5)
    facts = builder.examine(record(worker(1), generator(9, 2)))
    assert facts.handshakes is not None
    assert facts.handshakes.parts["waiting"].values_ns.tolist() == [0, 3_000_000]
    assert facts.handshakes.parts["token"].values_ns.tolist() == [1_000_000, 3_000_000]


def test_the_last_of_many_steps_does_not_take_the_calls_of_another_connection() -> None:
    """A row has room for four steps; the fourth of the first connection spans the waiting until its seventh."""
    builder = TrialBuilder()
    steps = ((1, 2), (3, 4), (5, 6), (7, 20))
    builder.connection(1, "server", random=7, opened=0, ended=20, steps=steps, further_steps=3)
    for number in range(3):
        builder.connection(1, "server", random=8 + number, opened=0, ended=12, steps=((10 + number, 10.5 + number),))
    builder.call("C_Sign", 1, at=8, until=9).call("C_Sign", 1, at=10.2, until=10.3)
    builder.call("C_Sign", 1, at=15, until=16).call("C_Sign", 1, at=21, until=22)
    assert owners(builder.connections_of(1), builder.process(1)).tolist() == [0, 1, 0, -1]


def test_of_two_connections_with_many_steps_the_one_that_began_its_last_later_has_a_call() -> None:
    builder = TrialBuilder()
    for random, at in ((7, 0), (8, 0.5)):
        steps = ((at + 1, at + 1.2), (at + 2, at + 2.2), (at + 3, at + 3.2), (at + 4, 20 - 10 * at))
        builder.connection(1, "server", random=random, opened=0, ended=20, steps=steps, further_steps=1)
    for at in (4.2, 6, 18):
        builder.call("C_Sign", 1, at=at, until=at + 0.1)
    assert owners(builder.connections_of(1), builder.process(1)).tolist() == [0, 1, 0]


def test_a_step_that_never_returned_has_the_call_that_it_was_in() -> None:
    builder = TrialBuilder().call("C_Sign", 1, at=2, returned=False)
    builder.connection(1, "server", random=7, opened=0, ended=0, outcome="info", steps=((1, 0),))
    assert owners(builder.connections_of(1), builder.process(1)).tolist() == [0]


def test_where_a_random_repeats_the_nearest_in_time_is_meant() -> None:
    builder = TrialBuilder()
    for server, at in ((3, 0), (2, 100), (1, 200)):
        builder.handshake(7, at=at, server=server)
    facts = builder.examine(record(worker(1), worker(2), worker(3), generator(9, 3)))
    assert facts.handshakes is not None
    assert facts.handshakes.joined == 3
    assert facts.handshakes.parts["accept"].values_ns.tolist() == [1_000_000]
    assert facts.handshakes.parts["token"].values_ns.tolist() == [2_000_000]


def test_two_servers_do_not_have_one_client() -> None:
    builder = TrialBuilder().handshake(7)
    builder.connection(1, "server", random=7, opened=50, ended=60)
    builder.connection(2, "server", random=7, opened=70, ended=80)
    facts = builder.examine(record(worker(1), worker(2), generator(9, 1)))
    assert facts.handshakes is not None
    assert (facts.handshakes.joined, facts.handshakes.strangers) == (1, {(None, "ended well"): 2})


def test_a_connection_that_said_nothing_joins_none_of_those_that_had_not_yet_spoken() -> None:
    builder = TrialBuilder().operation(9, kind="handshake", outcome="fail", layer="network", code=111)
    builder.connection(9, "client", random=0, operation=0, opened=0, ended=1, outcome="fail")
    builder.connection(1, "server", random=0, opened=1, ended=2, outcome="fail", layer="network", code=110)
    facts = builder.examine(record(worker(1), generator(9, 1)))
    assert facts.handshakes is not None
    assert facts.handshakes.strangers == {("network", "timed out (ETIMEDOUT)"): 1}


def test_only_measured_handshakes_are_told() -> None:
    builder = TrialBuilder().handshake(7, phase="warmup", at=0).handshake(8, at=20, lag=1)
    assert split(builder)["late"] == 1


def whole(rows: int, dtypes: Any, **given: Any) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(given.get(name, np.zeros(rows)), dtype) for name, dtype in dtypes.items()}


@pytest.mark.parametrize("seed", range(30))
def test_the_parts_of_random_handshakes_add_up_to_the_nanosecond_and_none_is_negative(seed: int) -> None:
    chance = np.random.default_rng(seed)
    size, threads = 200, int(chance.integers(1, 5))
    random = chance.integers(1, 2**63, size, dtype=np.uint64)
    tid = chance.integers(0, threads, size)
    steps = chance.integers(0, 5, size)
    # Instants of one thread ascend, and each step of the thread has two of them, between which are its calls.
    edges = {f"step{step}_{edge}_ns": np.zeros(size, np.int64) for step in range(1, 5) for edge in ("started", "ended")}
    opened = np.zeros(size, np.int64)
    calls: list[tuple[int, int, int, int]] = []
    for thread in range(threads):
        clock = 10**18
        todo = [(row, step) for row in np.flatnonzero(tid == thread) for step in range(1, steps[row] + 1)]
        mixed = sorted(todo, key=lambda each: (each[1], chance.random()))  # steps of several connections take turns
        for row, step in mixed:
            begin = clock + int(chance.integers(1, 1000))
            if step == 1:
                opened[row] = begin - int(chance.integers(0, 10**4))
            clock = begin
            for _ in range(int(chance.integers(0, 3))):
                start = clock + int(chance.integers(0, 500))
                clock = start + int(chance.integers(0, 5000))
                calls.append((thread, start, clock, int(row)))
            clock += int(chance.integers(0, 500))
            edges[f"step{step}_started_ns"][row], edges[f"step{step}_ended_ns"][row] = begin, clock
        for row in np.flatnonzero((tid == thread) & (steps == 0)):
            opened[row] = clock
    started = opened - chance.integers(0, 10**5, size)
    ended = opened + chance.integers(0, 10**5, size)  # also before the server's last step is over, or begun
    order = np.argsort(random)
    clients = Clients(
        random=random[order],
        tag=np.zeros(size, np.uint64),
        intended_ns=(started - chance.integers(0, 10**6, size))[order],
        started_ns=started[order],
        ended_ns=ended[order],
        well=np.ones(size, np.bool_),
        measured=np.ones(size, np.bool_),
        taken=np.zeros(size, np.bool_),
    )
    served = whole(
        size, CONNECTIONS, random=random, opened_ns=opened, tid=tid, side=np.full(size, SIDE["server"]), **edges
    )
    made = np.array(sorted(calls, key=lambda call: call[1]) or np.empty((0, 4)), np.int64)
    table = whole(
        len(made), CALLS, tid=made[:, 0], started_ns=made[:, 1], ended_ns=made[:, 2], state=np.full(len(made), ENDED)
    )
    process = ProcessCalls(1, table, Origin(0, "release"))

    partner = partners(clients, served)
    assert np.array_equal(clients.random[partner], random)
    owner = owners(served, process)
    # A call that began in the very nanosecond in which a step ended may be either's.
    assert np.array_equal(tid[owner], made[:, 0])
    assert np.mean(owner == made[:, 3]) > 0.99

    parts = parts_of(clients, partner, served, process, owner)
    assert tuple(parts) == PARTS
    total = np.sum([parts[part] for part in PARTS], axis=0)
    assert np.array_equal(total, clients.ended_ns[partner] - clients.intended_ns[partner])
    assert min(int(part.min()) for part in parts.values()) >= 0
