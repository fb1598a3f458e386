"""A whole calibration: runs what its parts need, and has each part judged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab.calibration import alike, arms, bench, counts, floors, known, tap
from lab.calibration.arms import Place, Settings
from lab.calibration.check import Check
from lab.errors import LabFault
from lab.native import stub
from lab.record.run import Run, StoredTrial
from lab.topology.interrupt import Interrupt
from lab.topology.line import KeeperLine
from lab.topology.run import Progress

PARTS: Final = ("floor", "tap", "service", "stall", "queue", "count", "same")

Judge = Callable[[Run], dict[str, Any]]
"""The summary of a run (lab/commands/report.py)."""
Begun = Callable[[str, int], Progress]
"""Told what begins, and how many trials it has; gives who is told of each trial."""


@dataclass
class Taken:
    """What was found so far. `interrupted`: the user ended it, and the checks are not all."""

    checks: list[Check] = field(default_factory=list)
    interrupted: bool = False


@dataclass(frozen=True)
class _Found:
    """The run of known answers."""

    settings: Settings
    text: str
    trials: dict[str, StoredTrial]
    summary: dict[str, Any]

    def due(self, arm: str) -> known.Due:
        """What the plan has for each thread of an arm, told by nothing that was measured."""
        return bench.due(self.text, arm)


def take(
    settings: Settings,
    parts: Collection[str],
    keeper: tuple[KeeperLine, Path],
    interrupt: Interrupt,
    judge: Judge,
    begun: Begun,
    keep: Path | None = None,
) -> Taken:
    """Does the parts. keep: where the run folders stay; None: they go with the keeper's folder.

    Raises ScenarioError where something is not installed, LabFault where the machine gives up.
    """
    taken = Taken()
    place = Place(stub(), keeper[1])
    place.make()
    runs = keep or keeper[1]
    text, alike_text = arms.measures(settings, place, parts), arms.same(settings) if "same" in parts else ""
    for each in filter(None, (text, alike_text)):
        bench.preflight(each, keeper[1])
    if text:
        progress = begun("known answers", bench.planned_trials(text))
        run = bench.run(text, runs / "known", keeper, interrupt, progress)
        if interrupt.wanted:
            return Taken(interrupted=True)
        trials = {trial.record.arm: trial for trial in run.trials()}
        found = _Found(settings, text, trials, judge(run))
        taken.checks.append(_accounted("known answers", found.summary))
        for part in parts:
            if part in _JUDGES:
                taken.checks += _judged(part, found, place)
    if "tap" in parts:
        begun("tap", 0)
        taken.checks.append(floors.tap(tap.turns(place.stub, keeper[1] / "tap", settings.turns)))
    if alike_text and not interrupt.wanted:
        progress = begun("two arms alike", bench.planned_trials(alike_text))
        run = bench.run(alike_text, runs / "same", keeper, interrupt, progress)
        if not interrupt.wanted:
            summary = judge(run)
            taken.checks += [_accounted("two arms alike", summary), *alike.verdicts(summary["comparisons"])]
    taken.interrupted = interrupt.wanted
    taken.checks.sort(key=lambda check: _ORDER.index(check.part))
    return taken


_ORDER: Final = ("account", *PARTS)


def _accounted(what: str, summary: dict[str, Any]) -> Check:
    """Whether every operation that was planned is there."""
    failing = [
        f"{name}: {arm['planned'] - arm['ok']} of {arm['planned']} did not end well"
        for name, arm in summary["arms"].items()
        if arm["planned"] != arm["ok"]
    ]
    reasons = [*summary["invalid_because"], *failing]
    words = "yes" if not reasons else f"no ({len(reasons)} reasons)"
    return Check("account", what, words, "yes", not reasons, None, "; ".join(reasons))


def _judged(part: str, found: _Found, place: Place) -> list[Check]:
    """A part that cannot be judged has failed; why is told."""
    try:
        return list(_JUDGES[part](found, place))
    except (KeyError, ValueError, IndexError, LabFault) as problem:
        return [Check(part, "judging", "not possible", "", False, None, f"{type(problem).__name__}: {problem}")]


def _floor(found: _Found, place: Place) -> Iterator[Check]:
    summary = found.summary["arms"]
    for kind in found.settings.topologies:
        yield from floors.null(kind, summary[f"null-{kind}-open"], found.trials[f"null-{kind}-closed"].operations)
    yield floors.handshake(summary["handshake-software"])


def _service(found: _Found, place: Place) -> Iterator[Check]:
    for service_ms in arms.SERVICES_MS:
        trial = found.trials[f"service-{service_ms:g}ms"]
        yield known.service(trial.operations, trial.calls, service_ms)


def _stall(found: _Found, place: Place) -> Iterator[Check]:
    yield from known.stall(found.trials["stall"].operations, found.due("stall"))


def _queue(found: _Found, place: Place) -> Iterator[Check]:
    operations = found.trials["queue"].operations
    yield from known.lindley(operations)
    yield from known.constant_service(operations, found.due("queue"))


def _count(found: _Found, place: Place) -> Iterator[Check]:
    yield counts.signatures(found.trials["count-signatures"], place.signed("signatures"))
    yield counts.handshakes(found.trials["count-handshakes"], place.signed("handshakes"))


_JUDGES: Final[dict[str, Callable[[_Found, Place], Iterator[Check]]]] = {
    "floor": _floor,
    "service": _service,
    "stall": _stall,
    "queue": _queue,
    "count": _count,
}
