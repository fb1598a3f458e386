"""Two runs beside each other, in words: what was asked, what was found, how sure, what may not be compared and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab.analysis.across_runs import FIRST, SECOND
from lab.report import doubtful, words
from lab.report.told.first_screen import calibrated
from lab.report.told.markdown import Told, bullets, plain
from lab.report.told.sentences import NAMES, few, listed, once, outcome
from lab.report.words import counted

if TYPE_CHECKING:
    from lab.report.comparing import Pair, Side

_DECIDED: Final = ("faster", "slower", "equivalent")
_TEST: Final = {
    "permutation": "a permutation test of the trials, whose inversion gives the 95 % interval",
    "welch": "Welch's test, because the numbers of trials differ",
}
_LONG: Final = 16  # characters of a value on the first screen; hashes are cut
_OF: Final = {
    "machine": "the machine",
    "versions": "versions",
    "native_sha256": "the lab's own C",
    "tokens": "the token and its module",
    "arms": "the arms' settings",
}

METHOD: Final = Told(
    bullets(
        (
            f"Each run is judged by itself first, as its own report does. {FIRST} is the first of the two that were "
            f"given, {SECOND} the second; a ratio is {SECOND} / {FIRST}, of geometric means over trials.",
            "Only what asked the same is compared: arms of one name, with the same load, key, seed and margins.",
            "Trials of two runs share no block of time, so they are not paired. Where both have as many, trials are "
            "exchanged between the runs in every way (or in many drawn ones), and the interval comes from inverting "
            "that test; where the numbers differ it is Welch's test.",
            "Failure rates are compared first. A verdict needs the whole 95 % interval on one side of the margin, and "
            "faster and slower also p < 0.05 after Holm's correction for the arm's metrics.",
        )
    )
)
"""docs/method.md says it with its sources."""

LIMITS: Final = Told(
    bullets(
        (
            "It tells these two runs apart, in the state in which their machines were, and not how much of the "
            "difference another run there would show again.",
            "Where several things differ (machine and module, say), no figure tells which of them made the difference.",
            "Dots are whole and valid trials. Where failure rates differ they are shown and not compared: the times of "
            "what survived are no times of what was asked.",
        )
    )
)


def of(pair: Pair) -> Told:
    """The four answers, each under its heading."""
    parts = (
        ("What was asked", asked(pair)),
        ("What was found", found(pair)),
        ("How sure", how_sure(pair)),
        ("What is not valid or not comparable, and why", not_valid(pair)),
    )
    return Told("\n\n".join(f"## {heading}\n\n{bullets(once(lines))}" for heading, lines in parts))


def asked(pair: Pair) -> list[str]:
    """The two runs, their arms, and where they differ."""
    arms = list(pair.found["arms"])
    lines = [f"**{name}**: {plain(_run(side))}." for name, side in pair.sides.items()]
    lines.append(f"{counted(len(arms), 'arm')} in both: {listed(arms)}.")
    groups: dict[str, list[str]] = defaultdict(list)
    for each in pair.found["differs"]:
        first, _, rest = each["key"].partition(".")
        values = f"({_short(each['a'])} and {_short(each['b'])})"
        groups[_OF.get(first, first)].append(f"{rest.removeprefix('0.')} {values}" if rest else values)
    for what, told in groups.items():
        more = f" and {len(told) - NAMES} more" if len(told) > NAMES else ""
        begin = " " if told[0].startswith("(") else ": "
        lines.append(f"They differ in {plain(what)}{begin}{plain(', '.join(told[:NAMES]))}{more}.")
    if not groups and not pair.found["unknown"]:
        lines.append("Nothing that is known differs between them but the time.")
    return lines


def _run(side: Side) -> str:
    machine = side.run.manifest.get("machine")
    known = machine if isinstance(machine, dict) else {}
    parts = [f"run {side.summary['run']}", str(side.run.manifest.get("started") or "")]
    parts += [str(known.get("system") or ""), f"{known.get('cpus')} x {known.get('cpu')}" if known else ""]
    return ", ".join(part for part in parts if part)


def _short(value: Any) -> str:
    text = words.MISSING if value is None else str(value)
    return text if len(text) <= 2 * _LONG or " " in text else f"{text[:_LONG]}..."


def found(pair: Pair) -> list[str]:
    """Failures first, then rules that one of the two broke alone, then verdicts."""
    return [*_outcomes(pair.found["arms"]), *_rules(pair.found["arms"]), *_verdicts(pair.found["comparisons"])]


def _outcomes(arms: Mapping[str, Any]) -> list[str]:
    well = [
        name
        for name, sides in arms.items()
        if all(arm["planned"] and arm["ok"] == arm["planned"] and not arm["failures"] for arm in sides.values())
    ]
    lines = [f"{listed(well)}: every operation ended well in both."] if well else []
    rest = []
    for name, sides in arms.items():
        if name not in well:
            told = [outcome(run, sides[run.lower()]).rstrip(".") for run in (FIRST, SECOND)]
            rest.append(f"{plain(name)}, {'; '.join(told)}.")
    return [*lines, *few(rest, "arm")]


def _rules(arms: Mapping[str, Any]) -> list[str]:
    """Of arms that have trials in both; what has none broke nothing, and says nothing."""
    lines, any_broken = [], False
    seen = {name: sides for name, sides in arms.items() if all(arm["trials"] for arm in sides.values())}
    for name, sides in seen.items():
        broken = {run: _broken(sides[run.lower()]) for run in (FIRST, SECOND)}
        any_broken = any_broken or any(broken.values())
        for run, other in ((FIRST, SECOND), (SECOND, FIRST)):
            alone = [rule for rule in broken[run] if rule not in broken[other]]
            if alone:
                lines.append(f"{plain(name)} breaks {plain(', '.join(alone))} in {run} only.")
    if lines or not seen:
        return few(lines, "arm")
    return ["Both break the same rules." if any_broken else "Neither broke a rule of the standard, or of safety."]


def _broken(arm: Mapping[str, Any]) -> list[str]:
    return [rule for rule, each in arm["rules"].items() if each["verdict"] == "violates"]


def _verdicts(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    decided = sorted(
        (each for each in comparisons if each["verdict"] in _DECIDED), key=lambda each: each["verdict"] == "equivalent"
    )
    lines = []
    for each in decided:
        what, figures = words.verdict({**each, "arm": SECOND, "baseline": FIRST})
        lines.append(f"**{plain(each['arm'])}: {plain(what)}**: {plain(figures)}.")
    return few(lines, "comparison") or [f"No comparison told {FIRST} and {SECOND} apart, or alike."]


def sentence(each: Mapping[str, Any]) -> str:
    """One comparison, as the terminal says it."""
    return words.comparison({**each, "arm": SECOND, "baseline": FIRST})


def how_sure(pair: Pair) -> list[str]:
    """Trials in each, the test, and what stays open."""
    numbers = {name: sum(facts.usable for _, facts in side.trials) for name, side in pair.sides.items()}
    told = " and ".join(f"{counted(number, 'trial')} of {name}" for name, number in numbers.items())
    lines = [f"{told} are whole and valid: each is a fresh tree of processes, and has one arm."]
    comparisons = pair.found["comparisons"]
    methods = dict.fromkeys(each["method"] for each in comparisons if each["method"])
    lines += [f"Trials of two runs are not paired: {_TEST.get(method, method)}." for method in methods]
    decided = sum(each["verdict"] in _DECIDED for each in comparisons)
    if decided:
        lines.append(f"{counted(decided, 'comparison')} of {len(comparisons):,} decided: the whole interval clears "
                     "the margin that the scenario set.")  # fmt: skip
    undecided = [each for each in comparisons if each["verdict"] == "inconclusive"]
    lines += few([f"Not decided: {plain(each['arm'])}, {plain(sentence(each))}." for each in undecided],
                 "is not decided", most=5, plural="are not decided")  # fmt: skip
    lines.append("It tells these two runs apart, and not how much of it another run there would show again.")
    of_the_lab = {name: calibrated(side.run.path, side.summary) for name, side in pair.sides.items()}
    if len(set(of_the_lab.values())) == 1:
        return [*lines, of_the_lab[FIRST]]
    return [*lines, *(f"{name}: {line}" for name, line in of_the_lab.items())]


def not_valid(pair: Pair) -> list[str]:
    """Reasons against either run, arms that may not be compared, trials that were left out or may mislead."""
    whole = pair.found
    lines = []
    if not whole["valid"]:
        lines.append("**Not both runs are valid; nothing of them is compared, and no figure is to be relied on.**")
        lines += few([plain(reason) for reason in whole["invalid_because"]], "reason")
    lines += [
        f"{name} was interrupted, or trials of its plan are missing; this is what there is."
        for name in pair.sides
        if whole[name.lower()]["partial"]
    ]
    lines += [f"{plain(line)}." for line in whole["unknown"]]
    apart: dict[str, list[str]] = defaultdict(list)
    for each in whole["comparisons"]:
        if each["verdict"] == "not-comparable" and each["arm"] not in apart[str(each["because"])]:
            apart[str(each["because"])].append(each["arm"])
    lines += few([f"{listed(arms)} cannot be compared: {plain(why)}." for why, arms in apart.items() if arms], "reason")
    lines += [f"Only in {name}, so not compared: {listed(arms)}." for name, arms in whole["only_in"].items() if arms]
    for name, side in pair.sides.items():
        out = sum(not facts.usable for _, facts in side.trials)
        if out:
            lines.append(f"{counted(out, 'trial')} of {len(side.trials):,} of {name} left out of all times, see below.")
    told = [
        f"{plain(arm)} in {name}: {plain(what)}; they are kept."
        for name in pair.sides
        for arm, what, _ in doubtful.told({arm: sides[name.lower()] for arm, sides in whole["arms"].items()})
    ]
    return [*lines, *few(told, "arm")] or ["Nothing: both runs are valid, and every arm of theirs was compared."]
