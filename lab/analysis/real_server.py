"""A real server in one trial: its processes' policies, and its restarts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.analysis import policy, restarts, traced
from lab.analysis.policy import ServerFacts
from lab.analysis.restarts import Asked, Restarts
from lab.analysis.sessions import SessionHistory
from lab.analysis.traced import TracedProcess
from lab.analysis.uses import ProcessUse
from lab.record.columns import Table
from lab.record.model import TrialRecord


def of_trial(
    record: TrialRecord,
    connections: Table,
    uses: Mapping[int, ProcessUse],
    seen: Iterable[TracedProcess],
    histories: Mapping[int, SessionHistory],
    asked: Asked,
) -> tuple[ServerFacts | None, list[str]]:
    """The facts, and why there are none: whatever the judging trips over makes the trial invalid, and ends nothing."""
    try:
        return _of_trial(record, connections, uses, seen, histories, asked), []
    except Exception as problem:  # odd data must not cost the other figures
        return None, [f"what the server did could not be judged ({type(problem).__name__}: {problem})"]


def _of_trial(
    record: TrialRecord,
    connections: Table,
    uses: Mapping[int, ProcessUse],
    seen: Iterable[TracedProcess],
    histories: Mapping[int, SessionHistory],
    asked: Asked,
) -> ServerFacts | None:
    server = record.server
    if server is None:
        return None
    facts = {process.index: traced.without_calls(process) for process in record.processes}
    facts |= {one.index: one for one in seen}
    served = restarts.served(connections)
    word, processes = policy.of_trial(
        record, uses, facts, {index: one.first_opened_ns for index, one in served.items()}
    )
    births = [p.born_ns for p in record.processes if p.role in ("master", "worker") and p.born_ns is not None]
    over = Restarts(record, uses, served, asked, histories)
    return ServerFacts(
        name=server.name,
        version=server.version,
        word=word,
        processes=processes,
        ready_ms=(server.ready_ns - min(births)) / 1e6 if server.ready_ns is not None and births else None,
        restart=over.restart(),
        kill=over.kill(),
        over_time=over.over_time(),
    )
