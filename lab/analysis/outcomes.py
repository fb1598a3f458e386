"""What became of each planned operation: planned = ok + fail + info + shed, counted so that it can come out wrong.

`planned` comes from the coordinator's records of the processes, `ok`, `fail` and `info` from the rows, `shed` from
the planned operations that have no row. A duplicate, a sequence number that was never planned, rows beyond the plan,
and in a closed loop (where only begun operations count as planned) a missing row, are each a reason for invalidity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import PHASE
from lab.record.model import ProcessRecord


@dataclass(frozen=True)
class Outcomes:
    """Counts of the operations of warm-up and measurement."""

    planned: int = 0
    ok: int = 0
    fail: int = 0
    info: int = 0
    shed: int = 0
    verified: int = 0
    wrong: int = 0
    measured_ok: int = 0

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(*(mine + yours for mine, yours in zip(self.counts, other.counts, strict=True)))

    @property
    def counts(self) -> tuple[int, ...]:
        return (
            self.planned, self.ok, self.fail, self.info, self.shed, self.verified, self.wrong, self.measured_ok,
        )  # fmt: skip

    @property
    def ended(self) -> Outcomes:
        """Without the operations that had not come to an end, or not begun: those of a trial that the user cut off."""
        return replace(self, planned=self.ok + self.fail, info=0, shed=0)

    @property
    def balanced(self) -> bool:
        return self.planned == self.ok + self.fail + self.info + self.shed


def of_process(record: ProcessRecord, operations: Table | None, open_loop: bool) -> tuple[Outcomes, tuple[str, ...]]:
    """The outcomes of one process, and what does not add up. `operations`: its rows, None where it has none."""
    if operations is None:
        counted = Outcomes(planned=record.planned, shed=record.planned)
        return counted, _problems(record, counted, 0, 0, open_loop)
    phase = operations["phase"]
    load = (phase == PHASE["warmup"]) | (phase == PHASE["measured"])
    everything = bool(load.all())
    outcome = operations["outcome"] if everything else operations["outcome"][load]
    sequence = operations["sequence"] if everything else operations["sequence"][load]
    thread = operations["thread"] if everything else operations["thread"][load]
    ok, fail, info = (int(count) for count in np.bincount(outcome, minlength=3)[:3])
    verified = operations["verified"]
    if record.role == "generator":  # its clients share one count, whichever of them is free
        thread = np.zeros_like(thread)
    distinct = _distinct(thread, sequence)
    counted = Outcomes(
        planned=record.planned,
        ok=ok,
        fail=fail,
        info=info,
        shed=max(0, record.planned - distinct),
        verified=int(np.count_nonzero((verified == columns.RIGHT) & load)),
        wrong=int(np.count_nonzero((verified == columns.WRONG) & load)),
        measured_ok=int(np.count_nonzero((phase == PHASE["measured"]) & (operations["outcome"] == columns.OK))),
    )
    out_of_range = int(np.count_nonzero(sequence >= record.planned)) if sequence.size else 0
    return counted, _problems(record, counted, sequence.size - distinct, out_of_range, open_loop)


def _distinct(thread: NDArray[np.uint16], sequence: NDArray[np.uint32]) -> int:
    """How many different pairs of thread and sequence number there are."""
    if sequence.size < 2:
        return int(sequence.size)
    key = (thread.astype(np.uint64) << np.uint64(32)) | sequence
    if bool((key[1:] > key[:-1]).all()):  # one thread, in order: nothing to sort
        return int(key.size)
    key.sort()
    return 1 + int(np.count_nonzero(key[1:] != key[:-1]))


def _problems(
    record: ProcessRecord, counted: Outcomes, repeated: int, out_of_range: int, open_loop: bool
) -> tuple[str, ...]:
    who = f"process {record.index}"
    problems = []
    if repeated:
        problems.append(f"{who}: {repeated} operations have the sequence number of another")
    if out_of_range:
        problems.append(f"{who}: {out_of_range} operations have a sequence number that was never planned")
    if not counted.balanced:
        total = counted.ok + counted.fail + counted.info + counted.shed
        problems.append(
            f"{who}: planned {counted.planned} is not ok {counted.ok} + fail {counted.fail} + info {counted.info}"
            f" + shed {counted.shed} = {total}"
        )
    if counted.shed and not open_loop:
        problems.append(f"{who}: {counted.shed} operations that it began have no row")
    return tuple(problems)
