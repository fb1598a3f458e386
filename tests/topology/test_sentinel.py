"""What two readings of the kernel's counters, and the sleeps between them, amount to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab.record.model import NoiseRecord, TrialRecord
from lab.topology import sentinel
from lab.topology.sentinel import Counters, Sentinel, noise
from tests.trial_builder import record, worker

BEFORE = Counters(all_ticks=1000, idle_ticks=400, steal_ticks=10, waited_us=5_000_000, at_ns=0)
AFTER = Counters(all_ticks=1200, idle_ticks=450, steal_ticks=14, waited_us=5_250_000, at_ns=1_000_000_000)


def test_shares_are_of_the_time_between_the_readings() -> None:
    late_ns = np.arange(1, 101, dtype=np.int64)
    assert noise(BEFORE, AFTER, late_ns) == NoiseRecord(
        sleeps=100,
        late_p50_ns=50,
        late_p99_ns=99,
        late_max_ns=100,
        steal_share=0.02,
        idle_share=0.25,
        pressure_share=0.25,
    )


def test_what_the_kernel_does_not_tell_and_no_time_at_all_have_no_share() -> None:
    nothing = np.empty(0, np.int64)
    assert noise(replace(BEFORE, waited_us=None), AFTER, nothing).pressure_share is None
    found = noise(BEFORE, BEFORE, nothing)
    assert (found.steal_share, found.idle_share, found.pressure_share, found.sleeps) == (None, None, None, 0)


def test_the_kernel_s_own_lines_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat, pressure = tmp_path / "stat", tmp_path / "cpu"
    stat.write_text("cpu  100 20 30 400 50 6 7 8 90 9\ncpu0 1 2 3\n")
    pressure.write_text("some avg10=59.99 avg60=80.54 avg300=77.56 total=4004174389\nfull avg10=0.00 total=0\n")
    monkeypatch.setattr(sentinel, "_STAT", stat)
    monkeypatch.setattr(sentinel, "_PRESSURE", pressure)
    found = Counters.now()
    assert (found.all_ticks, found.idle_ticks, found.steal_ticks, found.waited_us) == (621, 450, 8, 4004174389)
    pressure.unlink()
    assert Counters.now().waited_us is None


def test_a_sentinel_listens_from_its_begin_to_its_end_and_once() -> None:
    guard = Sentinel()
    guard.end()
    assert guard.noise is None  # the trial was never released
    guard.begin()
    guard.begin()
    guard.end()
    first = guard.noise
    guard.end()
    assert first is not None
    assert guard.noise is first


def test_a_record_with_noise_is_read_as_it_was_written() -> None:
    trial = replace(record(worker(1, 1, involuntary=7)), noise=noise(BEFORE, AFTER, np.arange(9)))
    assert TrialRecord.from_json(trial.to_json()) == trial
