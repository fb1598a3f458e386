"""A run folder: made once, never over another run, self-contained.

scenario.json (resolved), plan.json (every trial in its order), manifest.json (before and after), keys/*.pem (public),
pilot/ (where blocks = "auto": a plan.json, and trials/ that only chose the number of blocks and are none of the run's),
trials/NNNN-ARM/ (operations.parquet, calls.parquet, trial.json, arrivals.i64, stacks of hung processes), summary.json.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.errors import LabFault, ScenarioError

RESULTS = Path("results")


def create(out: Path | None, name: str, text: str, now: datetime, inside: Sequence[str] = ("trials", "keys")) -> Path:
    """Makes the run folder: `out`, or results/<utc>-<name>-<hash>, with its folders inside.

    Raises ScenarioError where it cannot be made.
    """
    folder = out or RESULTS / f"{now:%Y%m%dT%H%M%SZ}-{slug(name)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    try:
        if out is None:
            folder = _free(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ScenarioError(f"--out: {folder} exists and is not empty; earlier runs are never overwritten")
        folder.mkdir(parents=True, exist_ok=True)
        for each in inside:
            (folder / each).mkdir()
    except OSError as error:
        raise ScenarioError(f"--out: {folder} cannot be made: {error.strerror}") from None
    return folder.resolve()


def _free(folder: Path) -> Path:
    """Two runs in one second get two folders."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return candidate


def point_latest(folder: Path) -> None:
    """Makes results/latest point at a run folder that lies in results/."""
    if folder.parent != RESULTS.resolve():
        return
    latest, new = RESULTS / "latest", RESULTS / ".latest.new"
    try:
        new.unlink(missing_ok=True)
        new.symlink_to(folder.name)
        new.replace(latest)
    except OSError as error:
        raise LabFault(f"{latest}: {error.strerror}") from None


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether this process may change the trials of a run: nobody else holds the folder, as the run itself does.

    The lock (flock(2)) is the kernel's, so a run that was killed holds it no longer.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def name_of(folder: Path) -> str:
    """The folder's own name as text: UTF-8 whatever the locale is, and a mark for what is none."""
    return os.fsencode(folder.resolve().name).decode("utf-8", "replace")


def slug(name: str) -> str:
    """A name fit for a folder."""
    return re.sub(r"[^A-Za-z0-9.=_-]+", "-", name).strip("-.") or "run"


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Waits until nobody else writes what reports make of a run folder.

    The lock is on its scenario.json, since the folder's own is the run's (claimed()); who may only read has it too.
    """
    with (run / "scenario.json").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_json(path: Path, data: Mapping[str, Any] | Sequence[Any]) -> None:
    """As write_text()."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes the file whole or not at all, so that nobody ever sees half of it. Raises OSError.

    It is UTF-8; a part of a path that is none becomes a question mark.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_text(text, "utf-8", "replace")
        temporary.replace(path)
    except BaseException:  # an interrupt leaves nothing either
        temporary.unlink(missing_ok=True)
        raise
