"""One story per handshake: the client's row, the server's row, and the PKCS#11 calls made for it, joined.

Both ends know `random`, the first bytes of ClientHello.random. A call that made the signature which a client got
belongs to that client's connection, whatever its time, and so do the calls that lead up to it: client and tap have the
same keyed tag of it (signed.py). That counts where a server tells no more of a connection than its accept and its end,
so that many are open at a time in one thread. Any other call belongs to the connection in whose step it began, on the
thread that made the step. Where the time of a handshake went is then a split of the client's whole, exact to the
nanosecond, because all processes of a machine share one clock:

late      intended -> started: the client had no free slot, or the generator was late (closed loop: 0)
accept    started -> the server has accepted: TCP's handshake, and the wait for a process that accepts
waiting   on the server between its steps: the network, the client's own work, in an event loop other connections
software  inside the server's steps, without their PKCS#11 calls
token     inside PKCS#11 calls, and no longer than inside the steps
back      from the end of the server's last step to the client's end

Nothing counts that the server did after the client's end: in TLS 1.3 it reads the client's Finished then.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis.calls import ProcessCalls
from lab.analysis.signed import UNKNOWN, Places
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import PHASE

PARTS: Final = ("late", "accept", "waiting", "software", "token", "back")
STEPS: Final = 4
"""Steps that a row has room for; in the last of them lie all later ones."""

_NEVER: Final = np.iinfo(np.int64).max

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Clients:
    """The handshakes of a trial as its clients felt them, ascending in random; those that never sent one are not here.

    taken: which of them have a partner, filled while servers are joined. tag: of the signature that it got, 0 for none.
    """

    random: NDArray[np.uint64]
    tag: NDArray[np.uint64]
    intended_ns: Times
    started_ns: Times
    ended_ns: Times
    well: NDArray[np.bool_]
    measured: NDArray[np.bool_]
    taken: NDArray[np.bool_]

    @staticmethod
    def of(parts: list[Clients]) -> Clients:
        """All clients of all parts."""

        def joined(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in (_NOBODY, *parts)])

        order = np.argsort(joined("random"), kind="stable")
        return Clients(*(joined(each.name)[order] for each in fields(Clients)))


_NOBODY: Final = Clients(
    random=np.empty(0, np.uint64),
    tag=np.empty(0, np.uint64),
    intended_ns=np.empty(0, np.int64),
    started_ns=np.empty(0, np.int64),
    ended_ns=np.empty(0, np.int64),
    well=np.empty(0, np.bool_),
    measured=np.empty(0, np.bool_),
    taken=np.empty(0, np.bool_),
)


def clients_of(operations: Table, connections: Table) -> Clients:
    """The clients of one generator: its operations, and its connections, which name their operation."""
    sent = np.flatnonzero((connections["operation"] >= 0) & (connections["random"] != 0))
    row = connections["operation"][sent]
    outcome, phase = operations["outcome"][row], operations["phase"][row]
    return Clients(
        random=connections["random"][sent],
        tag=connections["tag"][sent],
        intended_ns=operations["intended_ns"][row],
        started_ns=operations["started_ns"][row],
        ended_ns=operations["ended_ns"][row],
        well=outcome == columns.OK,
        measured=phase == PHASE["measured"],
        taken=np.zeros(row.size, np.bool_),
    )


def partners(clients: Clients, served: Table) -> Places:
    """For each row of a server, the place of its client in `clients`, or -1; marks them as taken.

    Where a random repeats, against all odds, the client that started nearest to the server's accept is meant; and of
    two rows that want one client, the nearer has it.
    """
    random, opened = served["random"], served["opened_ns"]
    found = np.full(random.size, -1, np.intp)
    order = np.argsort(random)  # neighbours are then searched in memory that is near
    ascending = random[order]
    first = np.searchsorted(clients.random, ascending, "left")
    last = np.searchsorted(clients.random, ascending, "right")
    count = np.where(ascending == 0, 0, last - first)
    found[order[count == 1]] = first[count == 1]
    for place in np.flatnonzero(count > 1):
        row = order[place]
        apart = np.abs(clients.started_ns[first[place] : last[place]] - opened[row])
        found[row] = first[place] + int(np.argmin(apart))
    joined = np.flatnonzero(found >= 0)
    joined = joined[~clients.taken[found[joined]]]
    kept = _nearest_of_each(found[joined], np.abs(clients.started_ns[found[joined]] - opened[joined]))
    mine = np.full_like(found, -1)
    mine[joined[kept]] = found[joined[kept]]
    clients.taken[mine[mine >= 0]] = True
    return mine


def _nearest_of_each(client: Places, apart: Times) -> Places:
    """Places such that each client occurs once, with the smallest distance."""
    order = np.lexsort((apart, client))
    ascending = client[order]
    new = np.ones(order.size, np.bool_)
    new[1:] = ascending[1:] != ascending[:-1]
    kept: Places = order[new]
    return kept


def steps_of(served: Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begin and end of each step, an array of (rows, STEPS) each; one that never was begins at the end of time."""
    begin = np.stack([served[f"step{step}_started_ns"] for step in range(1, STEPS + 1)], axis=1)
    end = np.stack([served[f"step{step}_ended_ns"] for step in range(1, STEPS + 1)], axis=1)
    begin[begin == 0] = _NEVER
    end[end == 0] = _NEVER  # it never returned, or never was
    return begin, end


def owners(served: Table, calls: ProcessCalls, proven: Places | None = None) -> Places:
    """For each call of a server's process, the row of the connection that it was made for, or -1.

    proven: what signatures tell of each call (signed.proven()); None: nothing. Of the others, it is the connection in
    whose step the call began.

    Steps of a thread are disjoint, but for the last of a connection that had more than a row has room for: that one
    hides the waiting between them. It gets the calls that no other step has, and of two such steps the later.
    """
    owner = np.full(len(calls), UNKNOWN, np.intp) if proven is None else proven.copy()
    begin, end = steps_of(served)
    wide = np.zeros(begin.shape, np.bool_)
    wide[:, -1] = served["steps"] > STEPS
    was = begin != _NEVER
    for tid in np.unique(served["tid"]).tolist():
        thread = (served["tid"] == tid)[:, None]
        mine = np.flatnonzero((calls.tid == tid) & (owner == UNKNOWN))
        for some in (thread & was & ~wide, thread & was & wide):
            mine = _give(owner, mine, calls.started_ns, *_in_time(some, begin, end))
    owner[owner < 0] = UNKNOWN
    return owner


def _in_time(some: NDArray[np.bool_], begin: Times, end: Times) -> tuple[Places, Times, Times]:
    """These steps in the order of their begin: the row, the begin and the end of each."""
    row, step = np.nonzero(some)
    starts, ends = begin[row, step], end[row, step]
    order = np.argsort(starts, kind="stable")
    return row[order], starts[order], ends[order]


def _give(owner: Places, calls: Places, started_ns: Times, row: Places, starts: Times, ends: Times) -> Places:
    """Gives each call to the latest step that it began in; returns the calls that began in none."""
    until = np.maximum.accumulate(ends)
    at, left = started_ns[calls], calls
    place = np.searchsorted(starts, at, "right") - 1
    while left.size:
        possible = place >= 0
        possible[possible] = until[place[possible]] >= at[possible]  # else no earlier step has it either
        left, at, place = left[possible], at[possible], place[possible]
        hit = ends[place] >= at
        owner[left[hit]] = row[place[hit]]
        left, at, place = left[~hit], at[~hit], place[~hit] - 1
    return calls[owner[calls] < 0]


def parts_of(
    clients: Clients, client: Places, served: Table, calls: ProcessCalls | None, owner: Places
) -> dict[str, Times]:
    """The parts of handshakes in ns, by name, one value a row of `served`, whose partner is `client`.

    owner: of each call, its row in `served`, or -1 (owners()). Their sum is the client's ended - intended.
    """
    intended, started, ended = (
        column[client] for column in (clients.intended_ns, clients.started_ns, clients.ended_ns)
    )
    opened = np.clip(served["opened_ns"], started, ended)
    begin, end = steps_of(served)
    end = np.clip(end, opened[:, None], ended[:, None])
    begin = np.clip(begin, opened[:, None], ended[:, None])  # a step after the client's end has no length
    inside = (end - begin).sum(axis=1)
    last = np.where(begin < ended[:, None], end, opened[:, None]).max(axis=1, initial=0)
    token = np.minimum(_in_calls(calls, owner, ended), inside)  # a proven call may lie outside of what a log tells
    return {
        "late": started - intended,
        "accept": opened - started,
        "waiting": last - opened - inside,
        "software": inside - token,
        "token": token,
        "back": ended - last,
    }


def _in_calls(calls: ProcessCalls | None, owner: Places, ended: Times) -> Times:
    """Time in the calls of each row that began before the client's end, cut there."""
    if calls is None or not ended.size:
        return np.zeros(ended.size, np.int64)
    mine = np.flatnonzero(owner >= 0)
    row = owner[mine]
    begin = calls.started_ns[mine]
    end: Any = np.where(calls.ended_ns[mine] == 0, _NEVER, calls.ended_ns[mine])
    lasted = np.clip(np.minimum(end, ended[row]) - begin, 0, None)
    # float64 holds sums of whole ns exactly up to 2^53, which is 104 days
    return np.bincount(row, lasted, ended.size).astype(np.int64)
