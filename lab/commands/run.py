"""`python -m lab SCENARIO.toml`: run it, judge it, show what came out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from lab.commands.progress import Progress
from lab.commands.source import read
from lab.errors import LabFault, ScenarioError
from lab.native import LIBRARIES, library
from lab.plan import make
from lab.record import folder as run_folder
from lab.record import manifest
from lab.record.folder import write_json
from lab.scenario import Scenario, parse
from lab.tokens import bridges
from lab.tokens.preflight import check, unusable
from lab.topology import tls_preflight
from lab.topology.interrupt import Interrupt
from lab.topology.line import KeeperLine
from lab.topology.run import Tokens, kept, ready, run_trials

VALID, INVALID, UNMET, INTERRUPTED = 0, 1, 3, 130
MANIFEST: Final = "manifest.json"
PLAN: Final = "plan.json"


def run(
    path: Path, out: Path | None, overrides: Sequence[str], dry_run: bool, quiet: bool, page: bool | None = None
) -> int:
    """Returns the exit status. page: whether report.html is written; None: where it is not quiet.
    Raises ScenarioError before anything starts, LabFault where the machine gives up."""
    text = read(path)
    scenario = parse(text, str(path), overrides)
    if dry_run:
        from lab.commands.describe import plan as describe

        Console().print(describe(scenario))
        return VALID
    with Interrupt() as interrupt, kept(scenario) as keeper:
        if scenario.skip_unusable:
            scenario = _usable(scenario, str(path), keeper[1])
        bridges.preflight(scenario.arms, str(path))
        tls_preflight.check(scenario.arms, str(path), keeper[1])
        check(scenario.arms, str(path), keeper[1])
        folder = run_folder.create(out, scenario.name, text, datetime.now(UTC))
        with run_folder.claimed(folder):
            try:
                fault = _measure(scenario, folder, keeper, interrupt, quiet)
            except ScenarioError as error:  # what could not be known before the tokens were ready
                raise ScenarioError(f"{path}: {error}") from None
        if not (folder / PLAN).exists():
            told = f"interrupted in the pilot: nothing was measured; run folder: {folder}"
            Console(stderr=True).print(told, markup=False, highlight=False, soft_wrap=True)
            return INTERRUPTED
        page = not quiet if page is None else page
        return _judge(scenario, folder, interrupt.wanted, fault, quiet, page)


def _usable(scenario: Scenario, file: str, folder: Path) -> Scenario:
    """Without the arms whose token does not work here. Raises ScenarioError where that is every arm."""
    reasons = unusable(scenario.arms, folder)
    if len(reasons) == len(scenario.arms):
        told = "; ".join(dict.fromkeys(reasons.values()))
        raise ScenarioError(f"{file}: skip_unusable: no token of this scenario works here: {told}")
    return scenario.without(reasons)


def _measure(
    scenario: Scenario,
    folder: Path,
    keeper: tuple[KeeperLine, Path],
    interrupt: Interrupt,
    quiet: bool,
) -> LabFault | None:
    """Runs the trials. A fault in the middle is returned, for what was measured until then is still to be judged.

    A pilot that is interrupted leaves no plan; one that meets a fault raises it, for nothing was measured.
    """
    started = datetime.now(UTC)
    write_json(folder / "scenario.json", scenario.to_json())
    plan = None if scenario.blocks == "auto" else make(scenario)
    if plan is not None:
        write_json(folder / PLAN, plan.to_json())
    facts: dict[str, Any] = {"started": f"{started:%Y-%m-%dT%H:%M:%SZ}", "before": manifest.now()}
    facts |= {"machine": manifest.machine(), "versions": manifest.versions(), "seed": scenario.seed}
    facts["native_sha256"] = _native()
    write_json(folder / MANIFEST, facts)
    begun = False
    try:
        facts["bridges"] = bridges.manifest(scenario.arms)
        with ready(scenario, folder / "keys", keeper) as bench:
            _note_tokens(folder, facts, bench[1])
            if plan is None:
                from lab.commands.piloting import by_pilot  # judges, which takes long to import

                plan = by_pilot(scenario, folder, bench, interrupt, quiet)
                if plan is None:
                    return None
                write_json(folder / PLAN, plan.to_json())
            begun = True
            with Progress(len(plan.trials), quiet) as progress:
                run_trials(scenario, plan, folder, bench, interrupt, progress.trial)
    except ScenarioError:
        if not begun:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except LabFault as fault:
        if not begun:
            raise
        return fault
    finally:
        if folder.exists():
            _close(folder, facts)
    return None


def _native() -> dict[str, str | None]:
    return {name: manifest.sha256(library(name)) for name in LIBRARIES}


def _note_tokens(folder: Path, facts: dict[str, Any], tokens: Tokens) -> None:
    facts["tokens"] = tokens.manifest()
    write_json(folder / MANIFEST, facts)


def _close(folder: Path, facts: dict[str, Any]) -> None:
    try:
        modules = {token["module"] for token in facts.get("tokens", ()) if token["module"]}
        hashes = {"native_sha256": _native(), "module_sha256": {path: manifest.sha256(Path(path)) for path in modules}}
        write_json(folder / MANIFEST, {**facts, "after": {**manifest.now(), **hashes}})
    except OSError:
        pass  # a full disk has been, or will be, reported for what matters more


def _judge(scenario: Scenario, folder: Path, interrupted: bool, fault: LabFault | None, quiet: bool, page: bool) -> int:
    from lab.analysis.expectations import unmet
    from lab.commands.report import present, rebuilt, write_page

    try:
        judged = rebuilt(folder, picture=not quiet)
        run_folder.point_latest(folder)
        if page and not interrupted and fault is None:  # who interrupts does not want to wait for pictures
            with Console(stderr=True, quiet=quiet).status("drawing the report"):
                write_page(judged)
    except (LabFault, OSError) as error:
        if fault is not None:
            raise fault from None  # what went wrong first is what must be mended
        raise LabFault(str(error)) from None
    console, summary = Console(), judged.summary
    if not quiet:
        present(summary, folder, console)
    missed = unmet(summary, scenario.expect)
    for line in missed:
        console.print(f"not as expected: {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"run folder: {folder}", markup=False, highlight=False, soft_wrap=True)
    if fault is not None:
        raise fault
    if interrupted:
        return INTERRUPTED
    if not summary["valid"]:
        if quiet:
            reasons = "; ".join(summary["invalid_because"])
            Console(stderr=True).print(f"invalid: {reasons}", markup=False, highlight=False, soft_wrap=True)
        return INVALID
    return UNMET if missed else VALID
