"""A broken rule's first case, as the calls of the processes that were part of it, one under the other in time."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab.report import words
from lab.report.figures.drawing import VERMILLION, Picture, Sentence, drawn, panels, picture

if TYPE_CHECKING:
    import pandas as pd

    from lab.report.loaded import Run

NONE: Final = Sentence("No rule is broken in this run.")
LANES: Final = 4
_BEFORE: Final = 7  # calls shown of the process that broke the rule
_AFTER: Final = 4
_OTHERS: Final = 5  # calls shown of another process, before and after together
_LINE: Final = 118  # characters of evidence in a line
_SAME_MS: Final = 2e-6
_PROCESS: Final = re.compile(r"\bprocess(?:es)? (\d+)(?: and (\d+))?")


def broken(run: Run) -> list[tuple[str, str]]:
    """(arm, rule) of each rule that is broken."""
    arms = run.summary["arms"].items()
    return [
        (name, rule) for name, arm in arms for rule, found in arm["rules"].items() if found["verdict"] == "violates"
    ]


@drawn
def timelines(run: Run, most: int = 100) -> list[Picture | Sentence]:
    """One for each arm and broken rule, `most` of them; a sentence where no call shows the case, or no rule is broken."""
    found = broken(run)
    return [timeline(run, arm, rule) for arm, rule in found[:most]] if found else [NONE]


@drawn
def timeline(run: Run, arm: str, rule: str) -> Picture | Sentence:
    """The calls around the first case of one rule in one arm: a column for each process and thread, time downwards."""
    frame = run.rules
    cases = frame[(frame["arm"] == arm) & (frame["rule"] == rule) & (frame["verdict"] == "violates")]
    did = words.RULE.get(rule, "broke it")
    if cases.empty:
        return Sentence(f"{arm} does not break {rule}.")
    case = cases.iloc[0]
    told = f"{arm} broke {rule} (it {did}): {case['evidence']}"
    calls = run.calls_of(int(case["trial"]))
    if calls.empty:
        return Sentence(told)
    chosen = _chosen(calls, case)
    if chosen.empty:
        return Sentence(told)
    return _drawn(chosen, case, arm, rule, did)


def _chosen(calls: pd.DataFrame, case: Any) -> pd.DataFrame:
    """The calls to show, in time, with `lane`, and `it` where a call is the case."""
    named = [int(n) for found in _PROCESS.findall(str(case["evidence"])) for n in found if n]
    if not named and not np.isnan(case["at_ms"]):
        near = (calls["started_ms"] - case["at_ms"]).abs()
        named = [int(calls.loc[near.idxmin(), "process"])] if near.min() < _SAME_MS else []
    if not named:
        return calls.iloc[:0]
    first = named[0]
    mine = calls[calls["process"] == first].sort_values("started_ms", kind="stable")
    if mine.empty:
        return calls.iloc[:0]
    at = case["at_ms"] if not np.isnan(case["at_ms"]) else float(mine["started_ms"].iloc[-1])
    started = mine["started_ms"].to_numpy()
    place = int(np.searchsorted(started, at - _SAME_MS))
    window = mine.iloc[max(0, place - _BEFORE) : place + 1 + _AFTER]
    is_it = bool(place < started.size and abs(started[place] - at) < _SAME_MS)
    parts = [window]
    others = [process for process in dict.fromkeys([*named[1:], 0, *_neighbours(calls, window)]) if process != first]
    for process in others[: LANES - 1]:
        theirs = calls[calls["process"] == process].sort_values("started_ms", kind="stable")
        if theirs.empty:
            continue
        here = int(np.searchsorted(theirs["started_ms"].to_numpy(), at))
        parts.append(theirs.iloc[max(0, here - _OTHERS + 1) : here + 1])
        parts.append(_opening(theirs.iloc[:here], window["session"]))
    import pandas as pd

    found = pd.concat(parts).assign(it=False)
    if is_it:
        found.loc[mine.index[place], "it"] = True
    found = found[~found.index.duplicated()].sort_values("started_ms", kind="stable")
    lanes = list(dict.fromkeys(zip(found["process"].tolist(), found["tid"].tolist(), strict=True)))
    lanes.sort(key=lambda lane: (lane[0] != 0, lane[0], lane[1]))
    broke = (first, int(mine["tid"].iloc[min(place, started.size - 1)]))
    kept = [broke, *(lane for lane in lanes if lane != broke)][:LANES]
    number = {lane: place for place, lane in enumerate(lane for lane in lanes if lane in kept)}
    lane_of = [number.get(lane, -1) for lane in zip(found["process"].tolist(), found["tid"].tolist(), strict=True)]
    return found.assign(lane=lane_of)[lambda shown: shown["lane"] >= 0]


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


def _drawn(calls: pd.DataFrame, case: Any, arm: str, rule: str, did: str) -> Picture:
    lines = wrap(str(case["evidence"]), _LINE)[:4]
    says = f"{arm} broke {rule}: it {did}. {case['evidence']}"
    height = 1.05 + 0.16 * len(lines) + 0.235 * len(calls)
    found = picture(f"rule-{rule}-{arm}", says, height)
    axes = panels(found, 1, 1)[0, 0]
    lanes = sorted(calls["lane"].unique().tolist())
    width = 1.0
    for lane in lanes:
        axes.axvline(lane * width, color="#BBBBBB", lw=1, zorder=0)
    zero = float(case["at_ms"]) if not np.isnan(case["at_ms"]) else float(calls["started_ms"].iloc[0])
    for row, (_, call) in enumerate(calls.iterrows()):
        x, answer = call["lane"] * width, call["ckr"]
        never = not isinstance(answer, str)
        wrong = never or answer != "CKR_OK"
        text = f"{call['function']}" + (f", session {call['session']}" if call["session"] else "")
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
    axes.set_ylabel("ms before and after the case" if calls["it"].any() else "ms")
    found.suptitle(f"{arm} broke {rule}: a process {did} (trial {case['trial']})", fontsize=10, fontweight="bold")
    axes.set_xlabel("\n".join(lines), fontsize=8, loc="left")
    return found


def _who(call: Any) -> str:
    return "trial root" if call["process"] == 0 else f"process {call['process']}"
