"""What a reader needs to know first: what was asked, what was found, how sure, and what is not valid and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab.report import doubtful, words
from lab.report.calibration import NOT_CALIBRATED, cited
from lab.report.figures.latency import interval_of
from lab.report.terminal import load, shape, workload
from lab.report.told.markdown import Told, bullets, plain
from lab.report.told.sentences import NAMES, WORK, few, listed, once, outcome, worst
from lab.report.traced import is_trace
from lab.report.words import counted, milliseconds, significant

if TYPE_CHECKING:
    from pathlib import Path

    from lab.report.loaded import Run

_DECIDED: Final = ("faster", "slower", "equivalent")
_SAME: Final = 2  # comparisons that are open for the same reason are named up to here


def title(run: Run) -> Told:
    """The question, and whether the figures may be relied on."""
    state = "valid" if run.valid else "**not valid, do not rely on it**"
    interrupted = ", interrupted" if run.partial else ""
    return Told(
        f"# {plain(run.question or run.scenario)}\n\n{plain(f'{run.scenario}, run {run.name}')}: {state}{interrupted}"
    )


def of(run: Run) -> Told:
    """The four answers, each under its heading."""
    parts = (
        ("What was asked", asked(run)),
        ("What was found", found(run)),
        ("How sure", how_sure(run)),
        ("What is not valid, and why", not_valid(run)),
    )
    return Told("\n\n".join(f"## {heading}\n\n{bullets(once(lines))}" for heading, lines in parts))


def asked(run: Run) -> list[str]:
    """The arms that are to answer the question, and what each of them does."""
    arms = run.summary["arms"]
    if is_trace(run.summary):
        return ["What does each process of a traced program call, and may it?"]
    does = {_does(arm) for arm in arms.values()}
    shapes = {shape(arm) for arm in arms.values()} - {words.MISSING}
    line = f"{counted(len(arms), 'arm')}: {listed(list(arms))}"
    if len(does) == 1:
        line += f"; {'each' if len(arms) > 1 else 'it'} {plain(*does)}"
    if len(shapes) == 1:
        line += f"; {plain(*shapes)} (processes x threads)"
    policies = dict.fromkeys(arm["context"] for arm in arms.values() if arm["context"] in words.POLICY)
    who = "; ".join(f"{policy}: {words.POLICY[policy]}" for policy in policies)
    context = f"After the fork, who has the context (the module's state in a process)? {who}."
    return [f"{line}.", *([context] if who else [])]


def _does(arm: Mapping[str, Any]) -> str:
    """What an arm was to do, in words: the operations, and how they arrive."""
    kind, _, with_what = workload(arm).partition(" ")
    parts = [f"makes {WORK[kind][1]}" if kind in WORK else f"does {kind}", f"({with_what})" if with_what else ""]
    mode, _, rate = load(arm).partition(", ")
    if mode == "open":
        parts.append(f"{rate.removesuffix(' Hz')} a second, at times that were planned (open loop)")
    elif mode == "closed":
        parts.append("one after the other (closed loop)")
    return " ".join(part for part in parts if part)


def found(run: Run) -> list[str]:
    """Failures before latency: keys that were given away, what became of operations, broken rules, then comparisons."""
    arms = run.summary["arms"]
    if is_trace(run.summary):
        return [*_traced(arms), *_rules(arms)]
    lines = [
        f"**{plain(name)} gives its private key away**: {arm['nonces']['repeated']:,} of "
        f"{counted(arm['nonces']['signatures'], 'signature')} repeat a nonce, and the key was computed from two."
        for name, arm in arms.items()
        if (arm.get("nonces") or {}).get("proven")
    ]
    decided = [each for each in run.summary["comparisons"] if each["verdict"] in _DECIDED]
    decided.sort(key=lambda each: each["verdict"] == "equivalent")
    verdicts = [f"**{plain(what)}**: {plain(figures)}." for what, figures in map(words.verdict, decided)]
    return [*lines, *_outcomes(arms), *_rules(arms), *_costs(arms), *few(verdicts, "comparison")]


def how_sure(run: Run) -> list[str]:
    """Trials, intervals, what stays open."""
    summary = run.summary
    if is_trace(summary):
        return ["Every call that reached the tap is in the record; what the program calls past the tap is not."]
    trials = run.trials[run.trials["usable"]]
    blocks = counted(trials["block"].nunique(), "block")
    lines = [
        f"{counted(len(trials), 'trial')} in {blocks}: each trial is a fresh tree of processes, each block has every "
        "arm once, in random order."
    ]
    if chosen := summary.get("blocks_chosen"):
        lines.append(f"{plain(words.blocks_chosen(chosen))}.")
    comparisons = summary["comparisons"]
    decided = sum(each["verdict"] in _DECIDED for each in comparisons)
    if decided:
        lines.append(
            f"{counted(decided, 'comparison')} decided: the whole 95 % interval lies beyond the margin that was set "
            "before the run (faster, slower) or within it (equivalent)."
        )
    lines += _intervals(summary["arms"])
    lines += _open([each for each in comparisons if each["verdict"] == "inconclusive"])
    if not comparisons:
        lines.append("Nothing was compared: there is one arm, or the scenario gives no margin.")
    return [*lines, calibrated(run.path, summary)]


def calibrated(run_path: Path, summary: Mapping[str, Any]) -> str:
    """What is known of the lab itself on the run's machine, as a sentence."""
    line = cited(run_path, summary)
    return plain(NOT_CALIBRATED if line is None else f"The lab itself was {line}.")


def not_valid(run: Run) -> list[str]:
    """Reasons against the run, trials that were left out, arms that may not be compared."""
    summary, trials = run.summary, run.trials
    lines = [] if run.valid else ["**The run is not valid; do not rely on its figures.**"]
    lines += few([plain(reason) for reason in run.why], "reason")
    lines += ["It was interrupted, or trials of its plan are missing; this is what there is."] if run.partial else []
    lines += [plain(problem) for problem in run.problems if problem not in run.why]
    left_out = len(trials) - int(trials["usable"].sum())
    if left_out:
        lines.append(f"{counted(left_out, 'trial')} of {len(trials):,} left out of all times; the reasons are below.")
    apart: dict[str, list[str]] = defaultdict(list)
    for each in summary["comparisons"]:
        why = str(each["because"]).replace(f"{each['arm']} has no", "no").replace("no operation that", "no operation")
        if each["verdict"] == "not-comparable" and each["arm"] not in apart[why]:
            apart[why].append(each["arm"])
    lines += few([f"{listed(who)} cannot be compared: {plain(why)}." for why, who in apart.items() if who], "reason")
    overloaded = list(doubtful.overloaded(summary["arms"]))
    lines += few([f"{plain(arm)}: {plain(what)}." for arm, what, _ in overloaded], "arm")
    may_mislead = [each for each in doubtful.told(summary["arms"]) if each not in overloaded]
    if len(may_mislead) > NAMES:
        names = list(dict.fromkeys(arm for arm, _, _ in may_mislead))
        lines.append(f"{listed(names)} have trials that were disturbed or had not settled; they are kept.")
    else:
        lines += [f"{plain(arm)}: {plain(what)}; they are kept." for arm, what, _ in may_mislead]
    skipped: dict[str, list[str]] = defaultdict(list)
    for name, why in run.skipped.items():
        skipped[why].append(name)
    lines += [f"Left out on this machine: {listed(names)} ({plain(why)})." for why, names in skipped.items()]
    nothing = "Nothing: every planned operation is accounted for, and no trial was left out."
    return lines or [nothing if not is_trace(summary) else "Nothing that the lab knows of."]


def _outcomes(arms: Mapping[str, Any]) -> list[str]:
    sound = {name for name, arm in arms.items() if arm["planned"] and arm["ok"] == arm["planned"]}
    well = [name for name, arm in arms.items() if name in sound and not arm["failures"]]
    lines = []
    if well:
        kinds = {arms[name]["workload"]["kind"] for name in well}
        what = WORK.get(kinds.pop(), ("operation", "operations"))[1] if len(kinds) == 1 else "operations"
        lines.append(f"{listed(well)}: all {sum(arms[name]['ok'] for name in well):,} {what} ended well.")
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, arm in arms.items():
        if name not in well:
            none = bool(arm["planned"] and arm["failures"]) and not arm["ok"] and not arm["wrong"]
            alike[(arm["workload"]["kind"], worst(arm)["code"]) if none else ("", name)].append(name)
    others = [
        outcome(names[0], arms[names[0]]) if len(names) == 1 else _none(names, arms, kind, code)
        for (kind, code), names in alike.items()
    ]
    return [*lines, *few(others, "arm")]


def _none(names: Sequence[str], arms: Mapping[str, Any], kind: str, code: str) -> str:
    """Arms of which nothing ended well, for one reason."""
    planned = sum(arms[name]["planned"] for name in names)
    many = WORK.get(kind, ("operation", "operations"))[1]
    return f"{listed(names)}: **none** of {planned:,} {many} ended well, mostly for {plain(code)}."


def _rules(arms: Mapping[str, Any]) -> list[str]:
    by_rules: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, arm in arms.items():
        by_rules[tuple(rule for rule, each in arm["rules"].items() if each["verdict"] == "violates")].append(name)
    clean = by_rules.pop((), [])
    lines = []
    for rules, names in by_rules.items():
        did = words.both([plain(words.RULE.get(rule, rule)) for rule in rules])
        breaks = "breaks" if len(names) == 1 else "break"
        lines.append(f"{listed(names)} {breaks} {words.both(rules)}: a process {did}.")
    if clean and not lines:
        return ["No rule of the standard, or of safety, was broken."]
    return few(lines, "group of arms", plural="groups of arms")


def _costs(arms: Mapping[str, Any]) -> list[str]:
    told = []
    for name, arm in arms.items():
        total, memory = arm["cold_ms"]["total"], arm["processes"]["pss_mib_p50"]
        if total is not None and arm["context"] is not None:
            mib = f" and {significant(memory)} MiB" if memory is not None else ""
            told.append(f"{plain(name)} {milliseconds(total)} ms{mib}")
    if not told or len(told) > NAMES:
        return []
    return [f"Until its first operation is done, a process needs: {'; '.join(told)} (medians)."]


def _traced(arms: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, arm in arms.items():
        processes = arm["traced"]["processes"]
        callers = [process for process in processes if process["calls"]]
        calls = counted(sum(process["calls"] for process in callers), "call")
        lines.append(f"{plain(name)}: {calls} by {len(callers)} of {counted(len(processes), 'process', 'processes')}.")
    return lines


def _intervals(arms: Mapping[str, Any]) -> list[str]:
    """The median of each arm with its own interval, where there are not too many for a sentence."""
    told = []
    for name, arm in arms.items():
        of = "response_ms" if arm["response_ms"]["p50"] is not None else "service_ms"
        ends = interval_of(arm, f"{of}.p50")
        if ends is not None:
            low, high = (significant(end) for end in ends)
            told.append(f"{plain(name)} {significant(arm[of]['p50'])} ms, {low} to {high}")
    return [f"Medians with their 95 % intervals: {'; '.join(told)}."] if 0 < len(told) <= NAMES else []


def _open(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Comparisons without a verdict; where many have one reason it is said once."""
    by_reason: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in found:
        by_reason[str(each["because"]).partition(" (")[0]].append(each)
    lines = []
    for why, same in by_reason.items():
        if len(same) > _SAME and not why.startswith("the interval"):
            lines.append(f"{len(same)} comparisons are not decided: {plain(why)}.")
        else:
            lines += [f"Not decided: {plain(words.comparison(each))}." for each in same]
    return few(lines, "is not decided", plural="are not decided")
