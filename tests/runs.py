"""Whole runs of the lab as a user starts them, in processes of their own, and a look at what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from lab import program

PATIENCE_S = 5.0
"""How long after a run's end something of it may still be there."""

LOOK_AGAIN_S = 0.01
SERVERS = ("apache2", "httpd", "nginx", "stunnel", "stunnel4", "p11-kit-server", "p11-kit-remote")


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that a real server's workers can get to, as pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="lab-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@dataclass(frozen=True)
class Place:
    """Where one test runs the lab: a run folder, and a temporary folder that only this run's processes use.

    elsewhere: the temporary folder, where that of the test is closed to another user whom the run's processes become.
    """

    folder: Path
    elsewhere: Path | None = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def out(self) -> Path:
        return self.folder / "run"

    @property
    def temporary(self) -> Path:
        return self.elsewhere or self.folder / "temporary"

    def start(
        self, scenario: Path, *options: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """The lab, started and not waited for."""
        self.temporary.mkdir(exist_ok=True)
        # a report takes seconds that no test of a run needs; `probe` and the like have none
        page = ["--no-report"] if scenario.suffix == ".toml" and "--dry-run" not in options else []
        command = program.command("lab", str(scenario), "--out", str(self.out), *page, *options)
        inherited = {**program.environment(), "TMPDIR": str(self.temporary), "LAB_TEST_MARK": self.mark}
        return subprocess.Popen(
            command,
            env={**inherited, **(environment or {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, scenario: Path, *options: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The lab, run to its end."""
        process = self.start(scenario, *options, environment=environment)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def watched(self, running: subprocess.Popen[str]) -> Iterator[psutil.Process]:
        """The run's processes, looked up again and again until it has ended; communicate() has its output."""
        while True:
            yield from self.processes()
            try:
                running.communicate(timeout=LOOK_AGAIN_S)
            except subprocess.TimeoutExpired:
                continue
            return

    def processes(self) -> list[psutil.Process]:
        """Every living process of this run, whoever's it is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and self._is_of_this_run(process):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):  # it has just ended
                continue
        return found

    def _is_of_this_run(self, process: psutil.Process) -> bool:
        """It has the run's mark in its environment, or a file of its temporary folder open (a server's log).

        nginx writes its title over its environment.
        """
        if process.environ().get("LAB_TEST_MARK") == self.mark:
            return True
        if process.name() not in SERVERS:
            return False
        open_files = (_target(file) for file in Path(f"/proc/{process.pid}/fd").iterdir())
        return any(target.startswith(f"{self.temporary}/") for target in open_files)

    def leftovers(self) -> list[str]:
        """Processes and private folders that outlive the run by more than PATIENCE_S."""
        _, alive = psutil.wait_procs(self.processes(), timeout=PATIENCE_S)
        return [*(f"{p.pid} {p.name()}" for p in alive), *map(str, self.temporary.iterdir())]

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "summary.json").read_text())
        return found

    def trial(self, number: int = 1) -> dict[str, Any]:
        """trial.json of one trial."""
        (path,) = (self.out / "trials").glob(f"{number:04d}-*/trial.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def _target(link: Path) -> str:
    """What an open file is; "" where it has just been closed."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def balanced(arm: Mapping[str, Any]) -> bool:
    """Nothing planned has got lost, and something was planned."""
    parts = ("ok", "fail", "info", "shed")
    return bool(arm["planned"] > 0 and arm["planned"] == sum(arm[part] for part in parts))


def until(true: Callable[[], bool]) -> None:
    """Waits for what nobody tells, such as rows in a file; without the pause it would take the lab's processor."""
    while not true():
        time.sleep(LOOK_AGAIN_S)


def shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm"))
