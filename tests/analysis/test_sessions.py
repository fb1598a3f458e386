"""Sessions opened, closed, leaked, their peaks and series."""

from __future__ import annotations

import numpy as np

from lab.analysis.sessions import SERIES_POINTS, history
from lab.analysis.trial import SessionFacts
from tests.trial_builder import NS_PER_MS, TrialBuilder, record, worker


def sessions(builder: TrialBuilder) -> SessionFacts:
    return builder.examine(record(worker(1), worker(2))).sessions


def test_peaks_are_of_one_process_and_of_all_at_the_same_time() -> None:
    builder = TrialBuilder()
    for process, (start, end) in ((1, (1, 10)), (1, (2, 4)), (2, (3, 20)), (2, (15, 21))):
        handle = start
        builder.call("C_OpenSession", process, session=handle, at=start).call(
            "C_CloseSession", process, session=handle, at=end
        )
    found = sessions(builder)
    assert (found.opened, found.closed, found.leaked) == (4, 4, 0)
    assert (found.peak_per_process, found.peak_total) == (2, 3)


def test_the_series_tells_when_the_number_changed_and_to_what() -> None:
    builder = TrialBuilder().call("C_OpenSession", session=1, at=1).call("C_OpenSession", session=2, at=2)
    at_ns, count = sessions(builder.call("C_Finalize", at=5)).series[1]
    assert (at_ns / NS_PER_MS).tolist() == [1.5, 2.5, 5.5]
    assert count.tolist() == [1, 2, 0]


def test_sessions_that_failed_to_open_or_to_close_do_not_count() -> None:
    builder = TrialBuilder().call("C_OpenSession", session=0, ckr=0xB1).call("C_OpenSession", session=1)
    found = sessions(builder.call("C_CloseSession", session=1, ckr=0xB3))
    assert (found.opened, found.closed, found.leaked) == (1, 0, 1)


def test_sessions_closed_one_by_one_before_a_close_all_are_counted_once() -> None:
    builder = TrialBuilder().call("C_OpenSession", session=1).call("C_OpenSession", session=2)
    found = sessions(
        builder.call("C_CloseSession", session=1).call("C_CloseAllSessions").call("C_OpenSession", session=3)
    )
    assert (found.opened, found.closed, found.leaked) == (3, 2, 1)


def test_an_inherited_session_that_a_child_closes_is_not_its_own() -> None:
    builder = TrialBuilder().call("C_OpenSession", 1, session=5).call("C_CloseSession", 2, session=5)
    found = sessions(builder)
    assert (found.opened, found.closed, found.leaked) == (1, 0, 1)


def test_a_long_series_keeps_its_peak_and_its_end() -> None:
    n = 5000
    handles = np.arange(n, dtype="u8")
    closed_ns = np.arange(n) * 10 + 2 * n * 10
    long = history(np.arange(n) * 10, handles, closed_ns, handles, np.empty(0, "i8"))
    at_ns, count = long.series()
    assert at_ns.size <= SERIES_POINTS + 1
    assert count.max() == long.peak == n
    assert (at_ns[-1], count[-1]) == (closed_ns[-1], 0)
