"""`python -m lab calibrate`: what the lab itself costs on this machine, and how well it recovers known answers."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from lab.calibration import known
from lab.calibration.arms import FULL, QUICK, TOPOLOGIES, Settings
from lab.calibration.check import Check, failed
from lab.calibration.take import PARTS, Taken, take
from lab.commands.progress import Progress
from lab.errors import ScenarioError
from lab.native import LIBRARIES, library, stub
from lab.plan import PlannedTrial
from lab.record import calibrations, manifest
from lab.record.model import TrialRecord
from lab.record.run import Run
from lab.report.judging import judge
from lab.topology.interrupt import Interrupt
from lab.topology.run import kept_without

PASSED, FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class Options:
    """As given on the command line."""

    quick: bool = False
    only: Sequence[str] = ()
    keep: Path | None = None
    quiet: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """In the order of PARTS. Raises ScenarioError where one is not among them."""
        for name in self.only:
            if name not in PARTS:
                raise ScenarioError(f'--only: there is no part "{name}"; there are: {", ".join(PARTS)}')
        return tuple(part for part in PARTS if part in self.only) if self.only else PARTS

    @property
    def is_whole(self) -> bool:
        """Whether its result may be cited: nothing was left out, and it took its time."""
        return not self.quick and not self.only


def calibrate(options: Options, settings: Settings | None = None) -> int:
    """Returns the exit status. `settings` are for tests.

    Raises ScenarioError before anything starts, LabFault where the machine gives up.
    """
    parts, keep = options.parts, options.keep
    settings = settings or (QUICK if options.quick else FULL)
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ScenarioError(f"--keep: {keep} exists and is not empty; earlier runs are never overwritten")
    begun, now = time.monotonic(), datetime.now(UTC)
    before = manifest.now()
    with Interrupt() as interrupt, kept_without(()) as keeper, _Told(options.quiet) as told:
        taken = take(settings, parts, keeper, interrupt, _summary, told.begun, keep)
    if taken.interrupted:
        Console(stderr=True).print("interrupted: nothing is stored", markup=False, highlight=False)
        return INTERRUPTED
    found = _result(taken, parts, now, before, time.monotonic() - begun)
    console = Console()
    if not options.quiet:
        _show(found, console)
    missed = failed(taken.checks)
    for check in missed:
        line = f"failed: {check.name}: {check.measured}, wanted {check.wanted}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if options.is_whole:
        path = calibrations.store(found, now)
        console.print(f"calibration: {path}", markup=False, highlight=False, soft_wrap=True)
    else:
        why = "with --quick it is too short to be cited" if options.quick else "with --only it is not whole"
        console.print(f"not stored: {why}", markup=False, highlight=False, soft_wrap=True)
    return FAILED if missed else PASSED


class _Told:
    """Context manager: what is under way, on stderr."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._stack = ExitStack()
        self._console = Console(stderr=True, quiet=quiet)

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def begun(self, what: str, trials: int) -> Any:
        self._stack.close()
        self._console.print(f"calibrate: {what}", markup=False, highlight=False)
        if not trials:
            return _nothing
        return self._stack.enter_context(Progress(trials, self._quiet)).trial


def _nothing(planned: PlannedTrial, record: TrialRecord | None) -> None:
    """Of what has no trials."""


def _summary(run: Run) -> dict[str, Any]:
    return judge(run)[0]


def _result(
    taken: Taken, parts: Collection[str], now: datetime, before: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """What is stored."""
    by_name = {check.name: check for check in taken.checks}
    return {
        "utc": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "seconds": round(seconds, 1),
        "passed": not failed(taken.checks),
        "parts": list(parts),
        "machine": manifest.machine(),
        "versions": manifest.versions(),
        "native_sha256": {name: manifest.sha256(library(name)) for name in LIBRARIES}
        | {"stub": manifest.sha256(stub())},
        "before": dict(before),
        "after": manifest.now(),
        "figures": {
            "floor_us": _floors(by_name),
            "tap_us": tap.figure if (tap := by_name.get("the tap adds to a call")) else None,
            "service_error": known.figures(by_name),
        },
        "checks": [check.to_json() for check in taken.checks],
    }


def _floors(checks: Mapping[str, Check]) -> dict[str, float]:
    found = {kind: checks.get(f"null, {kind}, open loop") for kind in TOPOLOGIES}
    return {kind: check.figure for kind, check in found.items() if check and check.figure is not None}


def _show(found: Mapping[str, Any], console: Console) -> None:
    from lab.report.calibration import show

    show(found["checks"], console)
    checked = [check for check in found["checks"] if check["passed"] is not None]
    passed = sum(check["passed"] for check in checked)
    console.print()
    load = found["before"]["load_1min"]
    said = f"{passed} of {len(checked)} checks passed, in {found['seconds']:.0f} s, at a load average of {load:.1f}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)
