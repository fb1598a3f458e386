"""`python -m lab trace -- COMMAND`: any program under the tap, followed to its end, then judged."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from rich.console import Console

from lab.errors import LabFault, ScenarioError
from lab.native import library
from lab.record import folder as run_folder
from lab.record import manifest
from lab.record.begun import note_begun
from lab.record.folder import slug, write_json
from lab.record.model import ProcessRecord, TrialRecord
from lab.record.seal import seal
from lab.tokens.softhsm import MODULE as SOFTHSM
from lab.topology.line import KeeperLine
from lab.topology.reach import rows_folder
from lab.trace.following import Following
from lab.trace.openssl_cnf import Bridge
from lab.trace.requests import Requests
from lab.trace.spelling import Swap
from lab.trace.wiring import Wiring, module_of, wire

INVALID, INTERRUPTED = 1, 130
_TAP_KEY_BYTES: Final = 16
ROWS: Final = "rows"
"""Folder in the private one for the tap's files, where the run folder is closed to others."""


def trace(
    command: Sequence[str],
    out: Path | None,
    module: Path | None,
    bridge: str | None,
    quiet: bool,
    page: bool | None = None,
) -> int:
    """Returns the program's own exit status where it ended by itself and its trace is whole.

    page: whether report.html is written; None: where it is not quiet.

    Otherwise 1 (the trace is not) or 130 (the user ended it). Everything is said on stderr: stdout is the program's.
    Raises ScenarioError before anything starts, LabFault where the machine gives up.
    """
    console = Console(stderr=True, quiet=quiet)
    program = _program(command[0])
    swap = Swap(module_of(module, os.environ), library("tap"))
    folder = run_folder.create(out, f"trace-{program.name}", f"{program}\n{swap.module}", datetime.now(UTC))
    with run_folder.claimed(folder), Requests() as requests, KeeperLine(own_session=False) as line:
        facts = _begin(folder, program, swap)
        trial = folder / "trials" / f"0001-{slug(program.name)}"
        trial.mkdir()
        try:
            with _private(line, trial) as private, rows_folder(trial, private / ROWS) as rows:
                wiring = wire(command, os.environ, swap, private, cast(Bridge | None, bridge))
                _tap(wiring, swap, rows)
                _say(console, f"the tap {swap.tap} stands before {swap.module}", *wiring.told)
                following = _follow(line, program, wiring, trial, requests, console)
                _seal(following, trial, rows)
        except ScenarioError:  # it could not be started, so there is nothing to keep
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _end(folder, facts, swap)
    return _judge(folder, following, console, not quiet if page is None else page)


def _program(name: str) -> Path:
    """The file that would be started. Raises ScenarioError where there is none."""
    found = shutil.which(name)
    if found is None:
        raise ScenarioError(f"{name}: no such command")
    return Path(found).absolute()


def _begin(folder: Path, program: Path, swap: Swap) -> dict[str, Any]:
    """Writes what a run folder has before anything starts: the program's name, never its arguments."""
    kind = "softhsm" if (own := SOFTHSM.find()) is not None and swap.is_module(str(own)) else "module"
    arm = {
        "name": program.name,
        "token": {"kind": kind},
        "topology": None,
        "context": None,
        "tls": None,
        "workload": {"kind": "trace", "key": None, "mechanism": None},
        "load": {"mode": "closed"},
    }
    scenario = {"name": f"trace of {program.name}", "question": None, "seed": 0, "blocks": 1}
    write_json(folder / "scenario.json", {**scenario, "margin": {}, "expect": {}, "arms": [arm]})
    write_json(folder / "plan.json", {"trials": [{"number": 1, "block": 1, "arm": program.name}]})
    facts: dict[str, Any] = {"started": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "before": manifest.now()}
    facts |= {"machine": manifest.machine(), "versions": manifest.versions()}
    facts["native_sha256"] = {"tap": manifest.sha256(swap.tap)}
    facts["tokens"] = [{"kind": kind, "module": str(swap.module), "module_sha256": manifest.sha256(swap.module)}]
    facts["program"] = {"path": str(program), "sha256": manifest.sha256(program)}
    write_json(folder / "manifest.json", facts)
    return facts


def _end(folder: Path, facts: dict[str, Any], swap: Swap) -> None:
    after = {**manifest.now(), "module_sha256": {str(swap.module): manifest.sha256(swap.module)}}
    write_json(folder / "manifest.json", {**facts, "after": after})


@contextmanager
def _private(line: KeeperLine, trial: Path) -> Iterator[Path]:
    """A folder for configurations, gone afterwards, whatever happens. Others may pass through it, and not list it."""
    private = Path(tempfile.gettempdir()).absolute() / f"lab-trace-{secrets.token_hex(8)}"
    line.guard(private, keep=private / ROWS, keep_in=trial)
    try:
        private.mkdir(mode=0o711)
        private.chmod(0o711)
    except OSError as error:
        raise LabFault(f"{private}: {error.strerror}") from None
    try:
        yield private
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _tap(wiring: Wiring, swap: Swap, rows: Path) -> None:
    for name in [name for name in wiring.environment if name.startswith("LAB_TAP_")]:
        del wiring.environment[name]
    wiring.environment["LAB_TAP_MODULE"] = str(swap.module)
    wiring.environment["LAB_TAP_DIR"] = str(rows)
    wiring.environment["LAB_TAP_KEY"] = secrets.token_hex(_TAP_KEY_BYTES)


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(f"lab trace: {line}", markup=False, highlight=False, soft_wrap=True)


def _follow(
    line: KeeperLine, program: Path, wiring: Wiring, trial: Path, requests: Requests, console: Console
) -> Following:
    begun = _record(program, time.monotonic_ns(), 0)
    note_begun(trial, begun, None)
    pid = line.follow(program, wiring.command, wiring.environment, requests.defaults)
    begun = _record(program, begun.released_ns or 0, pid)
    note_begun(trial, begun, None)

    def daemonised() -> None:
        _say(console, f"{program.name} has ended and left processes behind, which are followed; Ctrl-C ends them")

    following = Following(line, begun, requests, daemonised)
    following.run()
    return following


def _record(program: Path, started_ns: int, pid: int) -> TrialRecord:
    """What is known at the start; for `lab report`, should the lab be killed, the program was cut off."""
    root = ProcessRecord(0, "root", pid, "cut-off", 0, 0, None, 1, finished=False, program=program.name)
    return TrialRecord(1, 1, program.name, False, started_ns, 0, 0, (root,), 0, traced=True)


def _seal(following: Following, trial: Path, rows: Path) -> None:
    record = following.record(rows)
    if rows != trial:
        for path in rows.iterdir():
            shutil.move(path, trial / path.name)
    seal(trial, record, None)


def _judge(folder: Path, following: Following, console: Console, page: bool) -> int:
    from lab.commands.report import present, rebuilt, write_page

    judged = rebuilt(folder)
    run_folder.point_latest(folder)
    if page and not following.interrupted:  # who interrupts does not want to wait for pictures
        with console.status("drawing the report"):
            write_page(judged)
    summary = judged.summary
    if not console.quiet:
        present(summary, folder, console)
    Console(stderr=True).print(f"run folder: {folder}", markup=False, highlight=False, soft_wrap=True)
    if following.interrupted:
        return INTERRUPTED
    return following.exit_status if summary["valid"] else INVALID
