"""The context policy that each process of a real server amounted to, from its calls and those of its ancestors alone.

A real server is told no policy: its library has one. What a process did is one of KINDS, and a server is named after
what its workers did; after its master, where that one serves (stunnel, and whatever has no workers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from lab.analysis.lineage import Lineage
from lab.analysis.restarts import Kill, OverTime, Restart
from lab.analysis.traced import TracedProcess
from lab.analysis.uses import ProcessUse
from lab.record.model import TrialRecord

KINDS: Final = ("re-initialised", "inherited", "inherited-login", "own", "refused", "unused")
"""re-initialised: a fork of a process that had a context, with a successful C_Initialize of its own before it used a
handle; inherited: it used the library without one; inherited-login: with one, but logged in without having done so;
own: it initialised and no ancestor had; refused: what it inherited was refused, and nothing went well; unused: it made
no call but C_Initialize and C_Finalize."""

WORD: Final = {
    "re-initialised": "re-initialised",
    "inherited": "inherited",
    "inherited-login": "inherited login under a fresh initialise",
    "own": "own context per process",
    "refused": "refused",
    "unused": "unused",
}
LAZILY: Final = "re-initialised lazily"
BROKER: Final = "broker"
MIXED: Final = "mixed"

_LOG_RESOLUTION_NS: Final = 2_000_000  # servers log the begin of a connection in ms, rounded
_MOST: Final = 0.5  # share of the others' key operations that lie inside the server's: they were made for it


@dataclass(frozen=True)
class ServerProcess:
    """One process of a real server. lazily: its C_Initialize came with its first handshake, or None."""

    index: int
    role: str
    kind: str
    lazily: bool | None
    after_ready: bool | None  # whether its C_Initialize came after the server was ready
    contexts: int
    logins: int
    facts: TracedProcess


@dataclass(frozen=True)
class ServerFacts:
    """What a trial showed of its real server."""

    name: str
    version: str
    word: str
    processes: tuple[ServerProcess, ...]
    ready_ms: float | None  # from the birth of its first process
    restart: Restart | None = None
    kill: Kill | None = None
    over_time: OverTime | None = field(default=None, repr=False)


def kind_of(use: ProcessUse | None, ancestor_initialised: bool) -> str:
    """One of KINDS."""
    if use is None or not use.uses:
        return "unused"
    own = bool(use.initialised_ns)
    if (ancestor_initialised or not own) and use.refused and not use.succeeded:
        return "refused"
    if not own or use.handled_before:
        return "inherited"
    if inherited_login(use, ancestor_initialised):
        return "inherited-login"
    return "re-initialised" if ancestor_initialised else "own"


def inherited_login(use: ProcessUse, ancestor_logged_in: bool) -> bool:
    """Whether a process was logged in after a C_Initialize of its own although it had not logged in.

    A key that was used without a login shows that only where an ancestor had logged in: a token's key may be public.
    """
    return use.logged_in_already is not None or (use.signed_without_login is not None and ancestor_logged_in)


def of_trial(
    record: TrialRecord,
    uses: Mapping[int, ProcessUse],
    facts: Mapping[int, TracedProcess],
    first_opened_ns: Mapping[int, int],
) -> tuple[str, tuple[ServerProcess, ...]]:
    """The word for the server, and what each of its processes did.

    first_opened_ns: when each process accepted its first connection, where that is known.
    """
    lineage = Lineage(record, uses)
    ready_ns = record.server.ready_ns if record.server else None
    found = []
    for process in lineage.server:
        use = uses.get(process.index)
        ancestors = [uses[one] for one in lineage.ancestors(process.index) if one in uses]
        kind = kind_of(use, lineage.initialised_ancestor(process.index) is not None)
        if kind == "inherited-login" and use and not use.logged_in_already and not any(one.logins for one in ancestors):
            kind = "re-initialised"
        lazily = after_ready = None
        if use and use.initialised_ns:
            began = use.initialised_ns[0]
            after_ready = None if ready_ns is None else began >= ready_ns
            if process.index in first_opened_ns:
                lazily = began >= first_opened_ns[process.index] - _LOG_RESOLUTION_NS
        found.append(
            ServerProcess(
                index=process.index,
                role=process.role,
                kind=kind,
                lazily=lazily,
                after_ready=after_ready,
                contexts=len(use.initialised_ns) if use else 0,
                logins=use.logins if use else 0,
                facts=facts[process.index],
            )
        )
    if _owned_by_another(record, lineage, uses):
        return BROKER, tuple(found)
    return word(found, lineage.master), tuple(found)


def word(processes: Iterable[ServerProcess], master: int | None) -> str:
    """One word for a server: what all of its workers that did anything did, or its master where no worker did."""
    every = list(processes)
    told = [process for process in every if process.role == "worker" and process.kind != "unused"]
    if not told:
        masters = [process for process in every if process.role == "master" and process.kind != "unused"]
        told = [process for process in masters if process.index == master] or masters
    kinds = {process.kind for process in told}
    if not kinds:
        return WORD["unused"]
    if len(kinds) > 1:
        return MIXED
    (kind,) = kinds
    if kind == "re-initialised" and _lazy(told):
        return LAZILY
    return WORD[kind]


def _lazy(processes: Iterable[ServerProcess]) -> bool:
    """Whether most came by their context with their first handshake, or, where that is not known, only once the server
    was ready."""
    votes = Counter(one.after_ready if one.lazily is None else one.lazily for one in processes)
    return votes[True] > votes[False]


def _owned_by_another(record: TrialRecord, lineage: Lineage, uses: Mapping[int, ProcessUse]) -> bool:
    """Whether processes outside the server's tree made operations with the key, and made them for the server."""
    tree = {process.index for process in lineage.server}
    above = {one for index in tree for one in lineage.ancestors(index)}
    others = [process.index for process in record.processes if process.role == "other" and process.index not in above]
    outside = [uses[one].key_calls for one in others if one in uses and uses[one].key_calls[0].size]
    if not outside:
        return False
    inside = [uses[one].key_calls for one in sorted(tree) if one in uses and uses[one].key_calls[0].size]
    if not inside:  # the server has no tap of its own
        return True
    begin, end = (np.concatenate([calls[edge] for calls in inside]) for edge in (0, 1))
    order = np.argsort(begin, kind="stable")
    begin, latest = begin[order], np.maximum.accumulate(end[order])
    their_begin, their_end = (np.concatenate([calls[edge] for calls in outside]) for edge in (0, 1))
    place = np.searchsorted(begin, their_begin, "right") - 1
    within = (place >= 0) & (latest[np.maximum(place, 0)] >= their_end)
    return float(np.mean(within)) >= _MOST
