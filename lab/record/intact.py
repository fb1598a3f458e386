"""Whether the tables of a sealed trial are those that were sealed.

A trial's record has the SHA-256 of each of its files of rows. Those of earlier versions have none; there, what no lab
writes is looked for instead: it finds a column that was mangled, and not one that was edited with care.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from lab.errors import LabFault
from lab.record.columns import INFO, RIGHT, UNVERIFIED, Table
from lab.record.model import TrialRecord


def sha256_of(path: Path) -> str:
    """Hex digest of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, record: TrialRecord) -> None:
    """Raises LabFault where a file of rows is missing, or is not the one that was sealed."""
    for name, sealed in record.tables:
        path = folder / name
        try:
            found = sha256_of(path)
        except FileNotFoundError:
            raise LabFault(f"{path}: is missing") from None
        except OSError as problem:
            raise LabFault(f"{path}: cannot be read ({problem.strerror})") from None
        if found != sealed:
            raise LabFault(f"{path}: is not what was sealed (its SHA-256 differs)")


def check_columns(path: Path, table: Table) -> None:
    """Raises LabFault where the rows of a trial without hashes are none that the lab writes. path: for the message."""
    started, ended = table["started_ns"], table["ended_ns"]
    if bool(((ended != 0) & (ended < started)).any()):
        raise LabFault(f"{path}: column ended_ns has ends before their starts")
    process = table["process"]
    if np.count_nonzero(process[1:] != process[:-1]) + 1 > max(1, np.unique(process).size):
        raise LabFault(f"{path}: column process is out of order: the rows of one process are not together")
    if "outcome" in table and bool((table["outcome"] > INFO).any()):
        raise LabFault(f"{path}: column outcome has values outside 0 to {INFO}")
    if "verified" in table and bool(((table["verified"] < UNVERIFIED) | (table["verified"] > RIGHT)).any()):
        raise LabFault(f"{path}: column verified has values outside {UNVERIFIED} to {RIGHT}")
