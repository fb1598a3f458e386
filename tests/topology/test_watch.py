"""Who hangs, and who only waits for somebody who does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.topology.watch import Seen, Watch


def watch(released_ns: int | None = None, told_to_leave: bool = False) -> Watch:
    made = Watch(line=None, root_pid=1, report=-1, folder=Path(), deadline_s=0.0, interrupted=-1)  # type: ignore[arg-type]
    made.released_ns = released_ns
    made.pss_kib = {1: 5000} if told_to_leave else {}
    return made


@pytest.mark.parametrize(
    ("seen", "released_ns", "told_to_leave", "waits"),
    [
        (Seen(1, 2, None, begun=True), None, False, False),
        (Seen(1, 2, None, begun=True, ready=True), None, False, True),
        (Seen(1, 2, None, begun=True, ready=True), 5, False, False),
        (Seen(1, 2, None, begun=True, ready=True, finished=True), 5, False, True),
        (Seen(1, 2, None, begun=True, ready=True, finished=True), 5, True, False),
    ],
    ids=["in its set-up", "ready, not released", "in its load", "finished, not told to leave", "leaving"],
)
def test_a_worker_hangs_only_where_it_is_its_turn(
    seen: Seen, released_ns: int | None, told_to_leave: bool, waits: bool
) -> None:
    assert watch(released_ns, told_to_leave).waits_for_root(seen) is waits
