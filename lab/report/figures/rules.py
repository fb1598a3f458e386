"""A broken rule's first case, as the calls of the processes that were part of it, one under the other in time."""

from __future__ import annotations

import math
import re
import string
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab.record.folder import slug
from lab.report import words
from lab.report.figures.drawing import VERMILLION, Picture, Sentence, Several, drawn, panels, picture

if TYPE_CHECKING:
    import pandas as pd

    from lab.report.loaded import Run

NONE: Final = Sentence("No rule is broken in this run.")
LANES: Final = 4
_BEFORE: Final = 7  # calls shown of the process that broke the rule
_AFTER: Final = 4
_OTHERS: Final = 5  # calls shown of another process, before and after together
_LINE: Final = 118  # characters of evidence in a line
_CUT: Final = " … (all of it is in the table of rules)"
_ROUNDED_MS: Final = 6e-4  # evidence has three decimals
_PROCESS: Final = re.compile(r"\bprocess (\d+)")
_MOMENT: Final = re.compile(r"\bprocess (\d+) \([^;]*?([\d.]+) ms (before|after) release")
_GIVES_RANDOM: Final = ("C_Sign", "C_SignFinal", "C_GenerateRandom")
_LONG: Final = 99_999  # session handles above it are shown as letters


def broken(run: Run) -> list[tuple[str, str]]:
    """(arm, rule) of each rule that is broken."""
    arms = run.summary["arms"].items()
    return [
        (name, rule) for name, arm in arms for rule, found in arm["rules"].items() if found["verdict"] == "violates"
    ]


@drawn
def timelines(run: Run, most: int = 100) -> Several:
    """One for each arm and broken rule, `most` of them, but one for all rules that one call broke; a sentence where no
    call shows it, or no rule is broken."""
    found: dict[tuple[str, int, float], list[str]] = {}
    for arm, rule in _one_of_each_first(broken(run)):
        case = _first_case(run, arm, rule)
        moment = (arm, -1, float(len(found))) if case is None else (arm, int(case["trial"]), float(case["at_ms"]))
        found.setdefault(moment, []).append(rule)
    shown = list(found.items())[:most]
    return Several(timeline(run, arm, *rules) for (arm, _, _), rules in shown) if shown else Several([NONE])


def _first_case(run: Run, arm: str, rule: str) -> Any:
    """The row of `rules` with it; None where there is none."""
    frame = run.rules
    cases = frame[(frame["arm"] == arm) & (frame["rule"] == rule) & (frame["verdict"] == "violates")]
    return None if cases.empty else cases.iloc[0]


def _one_of_each_first(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """So that what is left out for want of room is not a rule of its own."""
    first = {rule: (arm, rule) for arm, rule in reversed(found)}
    return sorted(found, key=lambda case: case not in first.values())


@drawn
def timeline(run: Run, arm: str, rule: str, *also: str) -> Picture | Sentence:
    """The calls around the first case of one rule in one arm: a column for each process and thread, time downwards.

    also: rules that the same call broke.
    """
    case = _first_case(run, arm, rule)
    if case is None:
        return Sentence(f"{arm} does not break {rule}.")
    did = " and ".join(words.RULE.get(each, f"broke {each}") for each in (rule, *also))
    told = Sentence(f"{arm} broke {rule} (a process {did}): {case['evidence']}")
    calls = run.calls_of(int(case["trial"]))
    chosen = calls if calls.empty else _chosen(calls, case)
    if chosen.empty:
        return told
    evidence = [str(each["evidence"]) for each in (_first_case(run, arm, other) for other in also) if each is not None]
    return _drawn(chosen, case, arm, (rule, *also), did, evidence)


def _points(case: Any, calls: pd.DataFrame) -> list[tuple[int, float]]:
    """(process, ms) of the first moments that the evidence names, at most two; one that has no process is looked up."""
    evidence, at = str(case["evidence"]), float(case["at_ms"])
    named = [
        (int(process), float(ms) * (-1 if when == "before" else 1)) for process, ms, when in _MOMENT.findall(evidence)
    ]
    if named:
        return named[:2]
    processes = [int(number) for number in _PROCESS.findall(evidence)]
    if math.isnan(at):
        mine = calls[calls["process"].isin(processes[:1])]
        return [] if mine.empty else [(processes[0], float(mine["started_ms"].max()))]
    if processes:
        return [(processes[0], at)]
    near = (calls["started_ms"] - at).abs()
    return [(int(calls["process"].iloc[int(near.argmin())]), at)] if near.min() < _ROUNDED_MS else []


def _chosen(calls: pd.DataFrame, case: Any) -> pd.DataFrame:
    """The calls to show, in time, with `lane`, and `it` where a call is the case."""
    import pandas as pd

    points = _points(case, calls)
    by_process = {
        process: mine.sort_values("started_ms", kind="stable") for process, mine in calls.groupby("process", sort=True)
    }
    parts, its, lanes_first = [], [], []
    for process, at in points:
        mine = by_process.get(process)
        if mine is None:
            continue
        place = int(np.searchsorted(mine["started_ms"].to_numpy(), at - _ROUNDED_MS))
        few = len(points) > 1
        parts.append(mine.iloc[max(0, place - (_BEFORE // 2 if few else _BEFORE)) : place + 1 + _AFTER])
        it = _the_case(mine.iloc[place : place + _AFTER], at, str(case["rule"]))
        its += [it] if it is not None else []
        first = mine.iloc[min(place, len(mine) - 1)]
        lanes_first.append((int(first["process"]), int(first["tid"])))
    if not parts:
        return calls.iloc[:0]
    window, at = pd.concat(parts), points[0][1]
    wanted = dict.fromkeys([*map(int, _PROCESS.findall(str(case["evidence"]))), 0, *_neighbours(calls, window)])
    seen = {process for process, _ in points}
    for process in [process for process in wanted if process not in seen and process in by_process][: LANES - 1]:
        theirs = by_process[process]
        here = int(np.searchsorted(theirs["started_ms"].to_numpy(), at))
        parts += [theirs.iloc[max(0, here - _OTHERS + 1) : here + 1], _opening(theirs.iloc[:here], window["session"])]
    found = pd.concat(parts)
    found = found[~found.index.duplicated()].sort_values("started_ms", kind="stable")
    pairs = list(zip(found["process"].tolist(), found["tid"].tolist(), strict=True))
    kept = list(dict.fromkeys([*lanes_first, *pairs]))[:LANES]
    number = {lane: place for place, lane in enumerate(sorted(kept))}
    found["lane"] = [number.get(pair, -1) for pair in pairs]
    found["it"] = found.index.isin(its)
    return found.loc[found["lane"] >= 0]


def _the_case(candidates: pd.DataFrame, at: float, rule: str) -> Any:
    """Index of the call that is the case: the one of that moment, or, where that is the start of an operation, the one
    of the operation's calls that failed or gave what was repeated; None where there is none."""
    if rule == "unique-randomness":
        candidates = candidates[candidates["function"].isin(_GIVES_RANDOM)]
        return candidates.index[0] if len(candidates) else None
    if len(candidates) and abs(candidates["started_ms"].iloc[0] - at) < _ROUNDED_MS:
        return candidates.index[0]
    failed = candidates[candidates["ckr"] != "CKR_OK"]
    return failed.index[0] if len(failed) else None


def _opening(earlier: pd.DataFrame, sessions: pd.Series[int]) -> pd.DataFrame:
    """The last call that gave one of these handles, if it was one of these."""
    opened = earlier[(earlier["function"] == "C_OpenSession") & earlier["session"].isin(sessions[sessions != 0])]
    return opened.iloc[-1:]


def _neighbours(calls: pd.DataFrame, window: pd.DataFrame) -> list[int]:
    """Other processes that called while these calls were made, those first that used the same sessions."""
    low, high = window["started_ms"].min(), window["started_ms"].max()
    near = calls[(calls["started_ms"] >= low) & (calls["started_ms"] <= high)]
    same = near[near["session"].isin(window.loc[window["session"] != 0, "session"])]
    return [int(process) for part in (same, near) for process in part["process"].unique()[:LANES]]


def _drawn(calls: pd.DataFrame, case: Any, arm: str, rules: tuple[str, ...], did: str, also: list[str]) -> Picture:
    evidence = str(case["evidence"])
    lines = wrap(evidence, _LINE, max_lines=4, placeholder=_CUT)
    for other in also:  # the same call, so only what it says besides is told
        same = next((n for n, pair in enumerate(zip(evidence, other, strict=False)) if len(set(pair)) > 1), 0)
        lines += wrap("and " + other[same:].lstrip(" ,"), _LINE, max_lines=2, placeholder=_CUT)
    says = f"{arm} broke {' and '.join(rules)}: a process {did}. {evidence}"
    height = 1.05 + 0.16 * len(lines) + 0.235 * len(calls)
    lanes = sorted(calls["lane"].unique().tolist())
    handles = [int(handle) for handle in dict.fromkeys(calls["session"]) if handle]
    long = max(handles, default=0) > _LONG
    letters = {handle: string.ascii_uppercase[place % 26] for place, handle in enumerate(handles if long else [])}
    if letters:
        lines.append("sessions: " + ", ".join(f"{letter} is handle {handle}" for handle, letter in letters.items()))
        height += 0.16
    found = picture(f"rule-{rules[0]}-{slug(arm)}", says, height)
    axes = panels(found, 1, 1)[0, 0]
    width = 1.0
    for lane in lanes:
        axes.axvline(lane * width, color="#BBBBBB", lw=1, zorder=0)
    zero = float(calls.loc[calls["it"], "started_ms"].min() if calls["it"].any() else calls["started_ms"].iloc[0])
    for row, (_, call) in enumerate(calls.iterrows()):
        x, answer = call["lane"] * width, call["ckr"]
        never = not isinstance(answer, str)
        wrong = never or answer != "CKR_OK"
        text, session = str(call["function"]), call["session"]
        text += f", session {letters.get(session, session)}" if session else ""
        text += " did not return" if never else f" → {answer}" if wrong else ""
        if len(lanes) > 2:
            text = text.replace("session ", "s ")
        box = {"boxstyle": "round,pad=0.22", "fc": "white", "ec": "#777777", "lw": 0.8}
        if call["it"]:
            box |= {"ec": VERMILLION, "fc": "#FBE6D9", "lw": 1.8}
        elif wrong:
            box |= {"fc": "#EEEEEE", "ls": "--"}
        axes.text(x, row, text, ha="center", va="center", fontsize=7.6 if len(lanes) < 3 else 6.6, bbox=box,
                  fontweight="bold" if call["it"] else "normal", zorder=2)  # fmt: skip
    times = [f"{at - zero:+,.3f}" for at in calls["started_ms"]]
    axes.set_yticks(range(len(calls)), times)
    for label, it in zip(axes.get_yticklabels(), calls["it"], strict=True):
        label.set_fontweight("bold" if it else "normal")
    axes.set_ylim(len(calls) - 0.3, -0.7)
    axes.set_xlim(-0.55 * width, (len(lanes) - 0.45) * width)
    heads = calls.drop_duplicates("lane").sort_values("lane")
    axes.set_xticks(
        [lane * width for lane in lanes],
        [f"{_who(head)} (pid {head['pid']})" + (f"\nthread {head['tid']}" if head["tid"] != head["pid"] else "")
         for _, head in heads.iterrows()],
    )  # fmt: skip
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("ms before and after the case" if calls["it"].any() else "ms since the first call shown")
    title = "\n".join(wrap(f"{arm} broke {' and '.join(rules)}: a process {did} (trial {case['trial']})", 105))
    found.suptitle(title, fontsize=10, fontweight="bold")
    axes.set_xlabel("\n".join(lines), fontsize=8, loc="left")
    return found


def _who(call: Any) -> str:
    return "trial root" if call["process"] == 0 else f"process {call['process']}"
