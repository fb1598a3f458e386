"""What a reader needs to know first: what was asked, what was found, how sure, and what is not valid and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab.report import doubtful, words
from lab.report.figures.latency import interval_of
from lab.report.terminal import failure, load, shape, workload
from lab.report.told.markdown import Told, bullets, plain
from lab.report.traced import is_trace
from lab.report.words import counted, milliseconds, significant

if TYPE_CHECKING:
    from lab.report.loaded import Run

_LINES: Final = 8  # of a kind; the tables below have all
_DECIDED: Final = ("faster", "slower", "equivalent")
_SAME: Final = 2  # comparisons that are open for the same reason are named up to here
_NAMES: Final = 5  # of arms in one sentence
_WORK: Final = {
    "sign": ("signature", "signatures"),
    "handshake": ("handshake", "handshakes"),
    "random": ("random output", "random outputs"),
    "session-churn": ("session", "sessions"),
    "null": ("empty operation", "empty operations"),
}


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
    return Told("\n\n".join(f"## {heading}\n\n{bullets(_cut(lines))}" for heading, lines in parts))


def asked(run: Run) -> list[str]:
    """The arms that are to answer the question, and what each of them does."""
    arms = run.summary["arms"]
    if is_trace(run.summary):
        return ["What does each process of a traced program call, and may it?"]
    does = {", ".join(part for part in (workload(arm), load(arm)) if part != words.MISSING) for arm in arms.values()}
    shapes = {shape(arm) for arm in arms.values()} - {words.MISSING}
    line = f"{counted(len(arms), 'arm')}: {_names(list(arms))}"
    if len(does) == 1:
        line += f"; {'each does' if len(arms) > 1 else 'it does'}: {plain(*does)}"
    if len(shapes) == 1:
        line += f"; {plain(*shapes)} (processes x threads)"
    return [line]


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
    verdicts = [f"**{_verdict(each)}**: {plain(words.comparison(each))}." for each in decided]
    return [*lines, *_outcomes(arms), *_rules(arms), *_costs(arms), *_few(verdicts, "comparison")]


def _verdict(each: Mapping[str, Any]) -> str:
    relation = "equivalent to" if each["verdict"] == "equivalent" else f"{each['verdict']} than"
    return f"{plain(each['arm'])} is {relation} {plain(each['baseline'])}"


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
            f"{counted(decided, 'comparison')} decided: the whole 95 % interval clears the margin that was set "
            "before the run."
        )
    lines += _intervals(summary["arms"])
    lines += _open([each for each in comparisons if each["verdict"] == "inconclusive"])
    if not comparisons:
        lines.append("Nothing was compared: there is one arm, or the scenario gives no margin.")
    return lines


def not_valid(run: Run) -> list[str]:
    """Reasons against the run, trials that were left out, arms that may not be compared."""
    summary, trials = run.summary, run.trials
    lines = [] if run.valid else ["**The run is not valid; do not rely on its figures.**"]
    lines += _few([plain(reason) for reason in run.why], "reason")
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
    lines += _few([f"{_names(who)} cannot be compared: {plain(why)}." for why, who in apart.items() if who], "reason")
    lines += _few(
        [f"{plain(arm)}: {plain(what)}; they are kept." for arm, what, _ in doubtful.told(summary["arms"])], "arm"
    )
    skipped: dict[str, list[str]] = defaultdict(list)
    for name, why in run.skipped.items():
        skipped[why].append(name)
    lines += [f"Left out on this machine: {_names(names)} ({plain(why)})." for why, names in skipped.items()]
    nothing = "Nothing: every planned operation is accounted for, and no trial was left out."
    return lines or [nothing if not is_trace(summary) else "Nothing that the lab knows of."]


def _outcomes(arms: Mapping[str, Any]) -> list[str]:
    sound = {name for name, arm in arms.items() if arm["planned"] and arm["ok"] == arm["planned"]}
    well = [name for name, arm in arms.items() if name in sound and not arm["failures"]]
    lines = []
    if well:
        kinds = {arms[name]["workload"]["kind"] for name in well}
        what = _WORK.get(kinds.pop(), ("operation", "operations"))[1] if len(kinds) == 1 else "operations"
        lines.append(f"{_names(well)}: all {sum(arms[name]['ok'] for name in well):,} {what} ended well.")
    return [*lines, *_few([_outcome(name, arm) for name, arm in arms.items() if name not in well], "arm")]


def _outcome(name: str, arm: Mapping[str, Any]) -> str:
    one, many = _WORK.get(arm["workload"]["kind"], ("operation", "operations"))
    if not arm["planned"]:
        told = "nothing was planned" if not arm["failures"] else f"no {one} was begun"
    elif not arm["ok"]:
        told = f"**none** of {arm['planned']:,} {many} ended well"
    elif arm["ok"] < arm["planned"]:
        told = f"{arm['ok']:,} of {arm['planned']:,} {many} ended well"
    else:
        told = f"all {arm['ok']:,} {many} ended well"
    if arm["wrong"]:
        told += f"; {counted(arm['wrong'], 'signature')} wrong"
    worst = sorted(arm["failures"], key=lambda each: (each["layer"] not in ("signal", "hang", "exit"), -each["count"]))
    return f"{plain(name)}: {told}" + (f": {plain(failure(worst[0]))}." if worst else ".")


def _rules(arms: Mapping[str, Any]) -> list[str]:
    by_rules: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, arm in arms.items():
        by_rules[tuple(rule for rule, each in arm["rules"].items() if each["verdict"] == "violates")].append(name)
    clean = by_rules.pop((), [])
    lines = []
    for rules, names in by_rules.items():
        did = ", ".join(plain(words.RULE.get(rule, rule)) for rule in rules)
        breaks = "breaks" if len(names) == 1 else "break"
        lines.append(f"{_names(names)} {breaks} {', '.join(rules)}: a process {did}.")
    if clean and not lines:
        return ["No rule of the standard, or of safety, was broken."]
    return _few(lines, "group of arms", plural="groups of arms")


def _costs(arms: Mapping[str, Any]) -> list[str]:
    told = []
    for name, arm in arms.items():
        total, memory = arm["cold_ms"]["total"], arm["processes"]["pss_mib_p50"]
        if total is not None and arm["context"] is not None:
            mib = f" and {significant(memory)} MiB" if memory is not None else ""
            told.append(f"{plain(name)} {milliseconds(total)} ms{mib}")
    if not told or len(told) > _NAMES:
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
    return [f"Medians with their 95 % intervals: {'; '.join(told)}."] if 0 < len(told) <= _NAMES else []


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
    return _few(lines, "is not decided", plural="are not decided")


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(plain(name) for name in names[:_NAMES])
    return shown + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")


def _few(lines: list[str], what: str, most: int = _LINES, plural: str | None = None) -> list[str]:
    rest = len(lines) - most
    if rest <= 0:
        return lines
    return [*lines[:most], f"and {rest} more {what if rest == 1 else plural or what + 's'}, see below."]


def _cut(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
