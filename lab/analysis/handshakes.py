"""The connections of one trial to its facts, a process at a time: who joined, where time went, what hosts cost.

Generators come first (clients()), then each server with its calls (server()), then done().
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis import failures, segments
from lab.analysis.calls import ProcessCalls
from lab.analysis.failures import Failure
from lab.analysis.quantiles import Distribution, distribution, merged
from lab.analysis.signed import Places, Signed, in_this_process, proven, signatures
from lab.analysis.stories import PARTS, Clients, clients_of, owners, partners, parts_of
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import KIND, SIDE
from lab.record.names import FUNCTION_NUMBER

LEAST_JOINED: Final = 0.999
"""Share of the handshakes with the lab's own server that must join; with less, stories are told of a selection."""

_KEY_CALLS: Final = [number for name, number in FUNCTION_NUMBER.items() if name.startswith(("C_Sign", "C_Decrypt"))]


@dataclass
class HostFacts:
    """What one virtual host cost one process. Times in ms, None where it did not do the step."""

    process: int
    host: int
    tls_contexts: int = 0
    find_key_ms: float | None = None  # with an engine or a provider: the key through its library
    tls_context_ms: float | None = None
    first_handshake_ms: float | None = None  # on the server, accept to end, the first that took the key
    handshakes: int = 0  # that ended well on the server
    sessions: int = 0  # different ones that signed or decrypted for it
    token_calls: int = 0


@dataclass(frozen=True)
class HandshakeFacts:
    """Connections of one trial. `server` is False where the lab did not start the server, so that nothing can join."""

    server: bool
    accepted: int  # server rows, intruders included
    well: int  # handshakes that ended well for their client
    joined: int  # and have a server's row
    client_only: int  # of these, that failed for their server all the same
    resumed: int
    should: int  # handshakes that ended well, with a signature that was tagged: full ones of a trial with a token
    signed: int  # of these, whose signature came out of a call of some process of the trial
    same_process: int  # of these, where that was a call of their server's row's process (and thread, where it has one)
    strangers: Mapping[tuple[str | None, str], int]  # server rows without a client's: by layer and name of failure
    parts: Mapping[str, Distribution]  # of measured handshakes that ended well and joined
    handshakes: Mapping[int, int]  # of each server process, that ended well there
    first_ms: Mapping[int, float]  # first handshake of each server process, accept to end
    hosts: tuple[HostFacts, ...]
    failures: tuple[tuple[int, Failure], ...]  # what servers saw, by process

    @property
    def join_share(self) -> float | None:
        return self.joined / self.well if self.server and self.well else None


@dataclass
class Handshakes:
    """Gathers the facts. connections: the whole table; texts: what OpenSSL says of its codes."""

    connections: Table
    texts: Mapping[int, str]
    server: bool
    _parts: list[Clients] = field(default_factory=list)
    _whole: Clients | None = None
    _shares: dict[str, list[Distribution]] = field(default_factory=lambda: {part: [] for part in PARTS})
    _hosts: dict[tuple[int, int], HostFacts] = field(default_factory=dict)
    _strangers: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    _handshakes: dict[int, int] = field(default_factory=dict)
    _first_ms: dict[int, float] = field(default_factory=dict)
    _failures: list[tuple[int, Failure]] = field(default_factory=list)
    _accepted: int = 0
    _client_only: int = 0
    _resumed: int = 0
    _well: int = 0
    _same_process: int = 0
    _signed: Signed | None = None
    _found: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))

    def __post_init__(self) -> None:
        self._places = segments.places(self.connections)

    def clients(self, process: int, operations: Table) -> None:
        """A generator's operations."""
        handshakes = operations["kind"] == KIND["handshake"]
        self._well += int(np.count_nonzero(handshakes & (operations["outcome"] == columns.OK)))
        if process in self._places:
            rows = segments.rows(self.connections, *self._places.pop(process))
            self._resumed += int(np.count_nonzero((rows["resumed"] != 0) & (rows["outcome"] == columns.OK)))
            self._parts.append(clients_of(operations, rows))

    def unfinished(self, process: int) -> int:
        """Handshakes that a server, whose turn is yet to come, began and never ended."""
        if process not in self._places:
            return 0
        first, last = self._places[process]
        return int(np.count_nonzero(self.connections["outcome"][first:last] == columns.INFO))

    def set_up(self, process: int, operations: Table) -> None:
        """The contexts that a process made, host by host."""
        well = operations["outcome"] == columns.OK
        for kind in ("find_key", "open_key", "tls_context"):
            for row in np.flatnonzero(well & (operations["kind"] == KIND[kind])).tolist():
                host = self._host(process, int(operations["vhost"][row]))
                lasted_ms = int(operations["ended_ns"][row] - operations["started_ns"][row]) / 1e6
                if kind != "tls_context":
                    host.find_key_ms = lasted_ms if host.find_key_ms is None else host.find_key_ms
                else:
                    host.tls_contexts += 1
                    host.tls_context_ms = lasted_ms if host.tls_context_ms is None else host.tls_context_ms

    def calls(self, calls: ProcessCalls) -> None:
        """A process's calls, once all clients are known; a process that is no server has no connections."""
        signed = self._tags()
        place = signed.find(calls.tag[signatures(calls)])
        self._found[place[place >= 0]] = True
        if calls.index in self._places:
            self._server(calls.index, calls)

    def done(self) -> HandshakeFacts:
        """The facts, once all calls are known; servers that made none come now."""
        for process in list(self._places):
            self._server(process, None)
        clients = self._clients()
        place = self._tags().find(clients.tag)
        should = clients.well & (place >= 0)
        return HandshakeFacts(
            server=self.server,
            accepted=self._accepted,
            well=self._well,
            joined=int(np.count_nonzero(clients.taken & clients.well)),
            client_only=self._client_only,
            resumed=self._resumed,
            should=int(np.count_nonzero(should)),
            signed=int(np.count_nonzero(self._found[place[should]])),
            same_process=self._same_process,
            strangers=dict(self._strangers),
            parts={part: merged(self._shares[part]) for part in PARTS},
            handshakes=self._handshakes,
            first_ms=self._first_ms,
            hosts=tuple(self._hosts[key] for key in sorted(self._hosts)),
            failures=tuple(self._failures),
        )

    def _clients(self) -> Clients:
        if self._whole is None:
            self._whole = Clients.of(self._parts)
            self._parts.clear()
        return self._whole

    def _tags(self) -> Signed:
        if self._signed is None:
            self._signed = Signed.of(self._clients().tag)
            self._found = np.zeros(self._signed.tag.size, np.bool_)
        return self._signed

    def _server(self, process: int, calls: ProcessCalls | None) -> None:
        rows = segments.rows(self.connections, *self._places.pop(process))
        served = rows["side"] == SIDE["server"]
        if not served.all():
            rows = {name: column[served] for name, column in rows.items()}
        clients = self._clients()
        self._accepted += int(served.sum())
        partner = partners(clients, rows)
        known = {name: rows[name][partner >= 0] for name in ("layer", "function", "code", "outcome")}
        self._failures += [(process, one) for one in failures.of_connections(known, self.texts)]
        own = partner[(partner >= 0) & (rows["outcome"] == columns.FAIL)]
        self._client_only += int(np.count_nonzero(clients.well[own]))
        self._strangers.update(_names(rows, np.flatnonzero(partner < 0), self.texts))
        owner = np.empty(0, np.intp)
        if calls is not None:
            owner = owners(rows, calls, proven(calls, self._tags(), partner, clients.taken.size))
            well = np.flatnonzero(partner >= 0)
            well = well[clients.well[partner[well]]]
            tag = np.zeros(partner.size, np.uint64)
            tag[well] = clients.tag[partner[well]]
            self._same_process += int(np.count_nonzero(in_this_process(rows, tag, calls)))
        self._tell(clients, partner, rows, calls, owner)
        self._count(process, rows, calls, owner)

    def _tell(self, clients: Clients, partner: Places, rows: Table, calls: ProcessCalls | None, owner: Places) -> None:
        """Adds the parts of the handshakes that are measured."""
        told = partner >= 0
        told[told] = clients.well[partner[told]] & clients.measured[partner[told]]
        place = np.where(told, np.cumsum(told) - 1, -1)
        chosen = {name: column[told] for name, column in rows.items() if name.endswith("_ns")}
        mine = np.where(owner >= 0, place[owner], -1) if rows["tid"].size else owner
        for part, lasted in parts_of(clients, partner[told], chosen, calls, mine).items():
            self._shares[part].append(distribution(lasted))

    def _count(self, process: int, rows: Table, calls: ProcessCalls | None, owner: Places) -> None:
        """Adds what the process and each of its hosts served and used."""
        well = rows["outcome"] == columns.OK
        self._handshakes[process] = int(np.count_nonzero(well))
        if (first := _first_ms(rows, well)) is not None:
            self._first_ms[process] = first
        for host in np.unique(rows["vhost"][well]).tolist():
            here = well & (rows["vhost"] == host)
            facts = self._host(process, host)
            facts.handshakes = int(np.count_nonzero(here))
            facts.first_handshake_ms = _first_ms(rows, here)
        if calls is None:
            return
        mine = np.flatnonzero(owner >= 0)
        vhost = rows["vhost"][owner[mine]]
        keyed = np.isin(calls.function[mine], _KEY_CALLS)
        for host in np.unique(vhost).tolist():
            here = vhost == host
            facts = self._host(process, host)
            facts.token_calls = int(np.count_nonzero(here))
            facts.sessions = int(np.unique(calls.session[mine[here & keyed]]).size)

    def _host(self, process: int, host: int) -> HostFacts:
        return self._hosts.setdefault((process, host), HostFacts(process, host))


def _first_ms(rows: Table, among: NDArray[np.bool_]) -> float | None:
    """How long the first handshake took on the server that took the key."""
    full = np.flatnonzero(among & (rows["resumed"] == 0))
    if not full.size:
        return None
    first = full[np.argmin(rows["opened_ns"][full])]
    return int(rows["ended_ns"][first] - rows["opened_ns"][first]) / 1e6


def _names(rows: Table, which: Places, texts: Mapping[int, str]) -> Mapping[tuple[str | None, str], int]:
    """Counts of the given rows by layer and name of their failure."""
    found: Counter[tuple[str | None, str]] = Counter()
    outcome = rows["outcome"][which]
    for value, name in ((columns.OK, "ended well"), (columns.INFO, "never ended")):
        if number := int(np.count_nonzero(outcome == value)):
            found[(None, name)] += number
    failed: Any = {name: rows[name][which] for name in ("layer", "function", "code", "outcome")}
    for one in failures.of_connections(failed, texts):
        found[(one.layer, one.code)] += one.count
    return found
