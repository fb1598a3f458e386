"""What is written before a trial begins, so that its rows can be sealed although the coordinator died in its middle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from lab.errors import LabFault
from lab.record.folder import write_json
from lab.record.mechanisms import mechanism
from lab.record.model import ProcessRecord, TrialRecord
from lab.record.rowfile import read_header
from lab.record.seal import Verification, seal

BEGUN: Final = "begun.json"


def note_begun(folder: Path, planned: TrialRecord, check: Verification | None, key_in_token: bool = True) -> None:
    """Writes down what is planned: every process as never started, and how the trial will be sealed."""
    checked = check and {"mechanism": check.mechanism.name, "key": check.key, "public_pem": check.public_pem}
    write_json(folder / BEGUN, {"trial": planned.to_json(), "check": checked, "key_in_token": key_in_token})


def recover(folder: Path) -> TrialRecord | None:
    """Seals a trial that was cut off with its coordinator; None where it had not even begun.

    Of its processes is known which ones wrote rows: they were cut off. Raises LabFault where the notes are damaged.
    """
    path = folder / BEGUN
    if not path.exists():
        return None
    try:
        noted = json.loads(path.read_text())
        planned = TrialRecord.from_json(noted["trial"])
        how = noted["check"]
        key_in_token = bool(noted.get("key_in_token", True))
        check = how and Verification(mechanism(how["mechanism"], how["key"]), how["key"], how["public_pem"])
    except (ValueError, KeyError, TypeError) as problem:
        raise LabFault(f"{path}: is no note of a trial ({problem})") from None
    processes = _with_rows(folder, planned.processes)
    return seal(folder, replace(planned, processes=processes, partial=True), check, key_in_token=key_in_token)


def _with_rows(folder: Path, planned: Sequence[ProcessRecord]) -> tuple[ProcessRecord, ...]:
    """Those that are planned, and servers that took the place of others; who wrote rows was cut off."""
    pids: dict[int, int] = {}
    for name in ("operations", "connections"):  # a server that inherited its context has done no step of a set-up
        for path in folder.glob(f"{name}-*.rows"):
            header = read_header(path)
            if header is not None:
                pids[int(header["process"])] = int(header["pid"])
    known = {process.index: process for process in planned}
    like = next((process for process in planned if process.role == "worker"), None)
    for index in sorted(pids.keys() - known.keys()):
        if like is not None:
            known[index] = replace(like, index=index, planned=0)
    return tuple(
        replace(process, pid=pids[index], end="cut-off", finished=False) if index in pids else process
        for index, process in sorted(known.items())
    )
