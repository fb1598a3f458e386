"""Where a run was made, how it measures, and what it cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lab.report.calibration import NOT_CALIBRATED, TITLE, of_machine
from lab.report.told.markdown import Told, bullets, plain, table

if TYPE_CHECKING:
    from lab.report.loaded import Run

METHOD: Final = Told(
    bullets(
        (
            "The unit is the trial: a fresh tree of processes that runs one arm once. A block has one trial of each "
            "arm, in random order; their number was fixed before the first.",
            "Under open load the arrivals were planned, and *response* counts from the planned time; *service* counts "
            "from the real start. Under closed load there is only service.",
            "planned = ok + fail + info + shed. A signature is ok only if it also verifies with the public key. "
            "Quantiles with too few operations are n/a (a p99 takes 299; "
            "its interval takes 8,000, in 10 trials).",
            "Comparisons: the log ratio of two arms within each block, an exact sign-flip test over blocks, and the "
            "95 % interval from inverting it. A verdict needs the whole interval on one side of the margin. Failure "
            "rates are compared first.",
            "Rules are checked on the record of every PKCS#11 call, which a module between program and token keeps.",
        )
    )
)
"""docs/method.md says it with its sources."""

_PASSED: Final = {True: "pass", False: "FAIL", None: "not checked"}
_LIMITS: Final = (
    "The figures are of this machine, this module and this load. Ratios travel better than milliseconds.",
    "Load and servers share the machine's processors, so a closed loop measures both.",
    "A rule that was not broken here may be broken elsewhere: not-exercised is no conforms.",
)


def manifest(run: Run) -> Told:
    """Machine, versions, modules and seed, as they were when the run began."""
    found = run.manifest
    if not found:
        return Told("manifest.json is missing, so where and with what this was measured is not known.")
    rows: list[tuple[str, str]] = [("run", run.name), ("scenario", run.scenario), ("seed", str(run.seed))]
    rows += [("started", str(found.get("started", "not known")))]
    rows += [(name, str(value)) for name, value in _part(found, "machine").items() if value is not None]
    tokens = found.get("tokens")
    for token in tokens if isinstance(tokens, list) else []:
        parts = [f"{name} {value}" for name, value in token.items() if value is not None and name != "kind"]
        rows.append((f"token {token.get('kind')}", ", ".join(parts)))
    rows += [("versions", ", ".join(f"{name} {version}" for name, version in _part(found, "versions").items()))]
    before, after = _part(found, "before"), _part(found, "after")
    rows += [
        (name, f"{value} before, {after.get(name, 'not known')} after")
        for name, value in before.items()
        if not isinstance(value, dict)
    ]
    rows += [(f"SHA-256 of {name}", str(value)) for name, value in _part(found, "native_sha256").items() if value]
    return Told(table(("", ""), rows))


def _part(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = found.get(name)
    return dict(part) if isinstance(part, dict) else {}


def calibration(run: Run) -> Told:
    """Every check of the newest calibration of the run's machine: what was measured, what was wanted."""
    found = of_machine(run.path)
    if found is None:
        return Told(plain(NOT_CALIBRATED))
    rows = [
        (TITLE[check["part"]], check["name"], check["measured"], check["wanted"], _PASSED[check["passed"]])
        for check in found["checks"]
    ]
    load = _part(found, "before").get("load_1min")
    amid = f", at a load average of {load:.1f}" if isinstance(load, int | float) else ""
    told = f"Calibrated at {found['utc']}, in {found['seconds']:.0f} s{amid}."
    return Told(f"{plain(told)}\n\n{table(('part', 'check', 'measured', 'wanted', ''), rows)}")


def limits(run: Run) -> Told:
    """What these figures cannot say, beginning with what is known of this run."""
    found, lines = run.manifest, []
    cpus, load = _part(found, "machine").get("cpus"), _part(found, "before").get("load_1min")
    if isinstance(cpus, int) and isinstance(load, int | float) and load > cpus / 2:
        lines.append(f"The machine was busy when the run began: a load of {load:.1f} on {cpus} processors.")
    stolen = _stolen(found)
    if stolen:
        lines.append(f"The hypervisor gave {stolen:.1f} s of this machine's processor time to others during the run.")
    tokens = found.get("tokens")
    kinds = [str(token.get("kind")) for token in tokens] if isinstance(tokens, list) else []
    if any(kind != "module" for kind in kinds):
        names = plain(", ".join(dict.fromkeys(kinds)))
        lines.append(f"The token is software ({names}): it has no device's latency and no device's limits.")
    return Told(bullets([*lines, *_LIMITS]))


def _stolen(found: Mapping[str, Any]) -> float:
    before, after = _part(found, "before").get("steal_s"), _part(found, "after").get("steal_s")
    return float(after) - float(before) if isinstance(before, int | float) and isinstance(after, int | float) else 0.0
