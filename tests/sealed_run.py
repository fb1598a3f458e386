"""Small run folders on disk, as the lab leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lab.record.model import TrialRecord
from tests.trial_builder import TrialBuilder, record, worker

SCENARIO: dict[str, Any] = {
    "name": "small",
    "question": "Does it read?",
    "seed": 7,
    "blocks": 2,
    "margin": {"service_ms.p50": 0.05},
    "expect": {},
    "arms": [
        {
            "name": "a",
            "token": {"kind": "softhsm"},
            "topology": {"kind": "prefork", "processes": 2, "threads": 1},
            "context": {"policy": "per-process", "session": "per-thread", "locking": "os"},
            "workload": {"kind": "sign", "key": "ec-p256", "mechanism": "ECDSA"},
            "load": {"mode": "open", "rate_hz": 100.0},
        }
    ],
}


def write_run(folder: Path, trials: int = 2, rows_per_group: int = 5) -> Path:
    """A run of two workers per trial; its Parquet files have row groups that do not end where processes do."""
    folder.mkdir()
    (folder / "scenario.json").write_text(json.dumps(SCENARIO))
    (folder / "plan.json").write_text("{}")
    (folder / "manifest.json").write_text("{}")
    for number in range(1, trials + 1):
        write_trial(folder, record(worker(1, 8), worker(2, 8), number=number, block=number), rows_per_group)
    return folder


def write_trial(folder: Path, trial: TrialRecord, rows_per_group: int = 5) -> None:
    builder = TrialBuilder()
    for process in (1, 2):
        builder.begin(process)
        for sequence in range(8):
            builder.sign(process, tag=100 * process + sequence, data=sequence)
            builder.operation(process, sequence, at=10 * sequence, lasts=1 + process)
        builder.end(process)
    path = folder / "trials" / f"{trial.number:04d}-{trial.arm}"
    path.mkdir(parents=True)
    (path / "trial.json").write_text(json.dumps(trial.to_json()))
    for name, table in (("operations", builder.operations), ("calls", builder.calls)):
        pq.write_table(pa.table(dict(table)), path / f"{name}.parquet", row_group_size=rows_per_group)
