"""Calibrations as they are stored: results/calibration/<utc>-<machine>.json, of which the newest of a machine counts.

A machine is what the manifest says of it (manifest.machine()): with another kernel, or more memory, it is another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from lab.errors import LabFault
from lab.record import folder as run_folder
from lab.record.folder import write_json

SCHEMA: Final = 1
FOLDER: Final = "calibration"


def calibrations() -> Path:
    """Their folder, beside the run folders."""
    return run_folder.RESULTS / FOLDER


def store(found: Mapping[str, Any], now: datetime) -> Path:
    """Writes a calibration (`machine` is in it) to a file of its own, and returns its path. Raises LabFault."""
    shown = hashlib.sha256(json.dumps(found["machine"], sort_keys=True).encode()).hexdigest()[:8]
    path = calibrations() / f"{now:%Y%m%dT%H%M%SZ}-{shown}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"schema": SCHEMA, **found})
    except OSError as problem:
        raise LabFault(f"{path}: cannot be written ({problem.strerror})") from None
    return path


def newest(machine: object, run: Path) -> dict[str, Any] | None:
    """The latest calibration of this machine, as manifest.machine() describes it; None where there is none.

    They are looked for here and beside the run folder, since a report may be asked for from anywhere. A file that is
    damaged, or of another schema, is none.
    """
    places = (calibrations(), run.resolve().parent / FOLDER)
    found = [path for place in places for path in place.glob("*.json")]
    for path in sorted(found, key=lambda each: each.name, reverse=True):
        try:
            kept = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(kept, dict) and kept.get("schema") == SCHEMA and kept.get("machine") == machine:
            return kept
    return None
