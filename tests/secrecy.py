"""Looking for a secret: in what can be seen of a run's processes, and in every file and column of a folder."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from tests.runs import Place


@dataclass
class Watched:
    """What could be seen from outside of the processes of a run."""

    commands: set[str] = field(default_factory=set)
    titles: set[str] = field(default_factory=set)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)  # by the module that the process runs
    configurations: set[bytes] = field(default_factory=set)  # every openssl.cnf of the run's private folder
    out: str = ""
    err: str = ""

    def read_configurations(self, private: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # its trial has just ended
            for path in private.glob("*/*/openssl.cnf"):
                self.configurations.add(path.read_bytes())

    @property
    def shown(self) -> list[bytes]:
        """All but the environments."""
        texts = [*self.commands, *self.titles, self.out, self.err]
        return [*(text.encode() for text in texts), *self.configurations]


def watch(place: Place, running: subprocess.Popen[str]) -> Watched:
    """Looks at a run until it has ended."""
    seen = Watched()
    for process in place.watched(running):
        seen.read_configurations(place.temporary)
        try:
            # The command first: a process between fork and exec still shows its parent's command and environment.
            command = " ".join(process.cmdline())
            seen.commands.add(command)
            seen.titles.add(process.name())
            if process.pid != running.pid and " -m lab." in command:
                seen.environments[command.split(" -m ")[1].split()[0]] = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    seen.out, seen.err = running.communicate()
    return seen


def needles(secret: str) -> list[bytes]:
    """How a secret may be spelt."""
    raw = secret.encode()
    spellings = [raw, raw.hex().encode(), raw.hex().upper().encode(), raw[::-1], secret.encode("utf-16-le")]
    # base64 at each of the three alignments, without what the neighbours have a part in
    encoded = [base64.b64encode(b"\0" * shift + raw)[(shift * 8 + 5) // 6 : -4] for shift in range(3)]
    return spellings + encoded


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file's name and bytes, and every column of every Parquet file as plain bytes."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"name of {path}", str(path.relative_to(folder)).encode()
        yield str(path), path.read_bytes()
        if path.suffix == ".parquet":
            for name, column in zip((table := pq.read_table(path)).column_names, table.columns, strict=True):
                yield f"{path} {name}", column.to_numpy().tobytes()


def holders(folder: Path, secret: str) -> list[str]:
    """Where in a folder a secret is."""
    return [where for where, data in contents(folder) if any(needle in data for needle in needles(secret))]
