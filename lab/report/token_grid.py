"""Tokens by context policy: of a run that has several of both, one table and one picture.

A row is a token (and workload), a column a policy. A cell says how many operations ended well, what the others died of,
and which rules were broken.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.report.words import significant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE: Final = "tokens.csv"
PICTURE: Final = "tokens.png"
POLICIES: Final = ("shared", "per-process", "reinit", "broker")

State = Literal["well", "rules", "some", "none", "key"]

_LOOKS: Final[Mapping[State, tuple[str, str, str]]] = {  # what it means, colour of the cell, of its text
    "well": ("all ended well, no rule broken", "#C7E9DF", "black"),
    "rules": ("all ended well, rules broken", "#F6EFA6", "black"),
    "some": ("some failed", "#E69F00", "black"),
    "none": ("none ended well", "#B24700", "white"),
    "key": ("the private key was given away", "black", "white"),
}
_SETTLED: Final = "sessions-closed"
"""Not worth a word here: who is told to leave its parent's sessions alone does not close them."""
_WIDE: Final = 29  # characters of a line in a cell


@dataclass(frozen=True)
class Cell:
    """One arm."""

    name: str
    row: str
    policy: str
    arm: Mapping[str, Any]

    @property
    def share(self) -> float:
        """Of the planned operations, those that ended well."""
        return self.arm["ok"] / self.arm["planned"] if self.arm["planned"] else 0.0

    @property
    def rules(self) -> list[str]:
        broken = [rule for rule, found in self.arm["rules"].items() if found["verdict"] == "violates"]
        return [rule for rule in broken if rule != _SETTLED]

    @property
    def codes(self) -> list[str]:
        """The two most frequent, and how a process died before any error."""
        failures = sorted(self.arm["failures"], key=lambda one: (one["layer"] not in _DEATHS, -one["count"]))
        return list(dict.fromkeys(one["code"] for one in failures))[:2]

    @property
    def state(self) -> State:
        if (self.arm.get("nonces") or {}).get("proven"):
            return "key"
        if not self.arm["ok"]:
            return "none"
        if self.arm["ok"] < self.arm["planned"]:
            return "some"
        return "rules" if self.rules else "well"

    @property
    def percent(self) -> str:
        """Rounded, but never to all or nothing where it is not."""
        exact = 100 * self.share
        if exact in (0, 100):
            return f"{exact:.0f} %"
        return f"{min(99, max(1, round(exact)))} %"

    def lines(self) -> list[str]:
        """What the picture says in the cell."""
        told = [f"{self.percent} ended well" if self.arm["ok"] else "none ended well"]
        if self.state == "key":
            told.append("private key computed")
        if self.codes and (self.arm["ok"] < self.arm["planned"] or not self.arm["ok"]):
            told.append(self.codes[0])
        if self.rules:
            told.append(f"breaks {', '.join(self.rules)}")
        return [line for text in told for line in wrap(text, _WIDE, break_on_hyphens=False)]


_DEATHS: Final = ("signal", "hang")


def cells(summary: Mapping[str, Any]) -> list[Cell]:
    """The arms that have a token and a policy of the lab's; none where the run has not several of both."""
    found = [
        Cell(name, _row(arm, len(workloads(summary)) > 1), arm["context"], arm)
        for name, arm in summary["arms"].items()
        if arm["token"] and arm["context"] in POLICIES
    ]
    several = len({token_of(cell.arm) for cell in found}) > 1 and len({cell.policy for cell in found}) > 1
    unique = len({(cell.row, cell.policy) for cell in found}) == len(found)
    return found if several and unique else []


def workloads(summary: Mapping[str, Any]) -> set[str]:
    return {_work(arm) for arm in summary["arms"].values() if arm["token"]}


def token_of(arm: Mapping[str, Any]) -> str:
    """`softhsm`, `softhsm, reset on fork`, `p11kit-proxy over nss`."""
    name = str(arm["token"]) + (f" over {arm['over']}" if arm.get("over") else "")
    return name + (", reset on fork" if arm.get("reset_on_fork") else "")


def _work(arm: Mapping[str, Any]) -> str:
    return f"{arm['workload']['kind']} {arm['workload']['key'] or ''}".strip()


def _row(arm: Mapping[str, Any], with_workload: bool) -> str:
    return token_of(arm) + (f", {_work(arm)}" if with_workload else "")


def _columns(found: list[Cell]) -> list[str]:
    return [policy for policy in POLICIES if any(cell.policy == policy for cell in found)]


def show(summary: Mapping[str, Any], console: Console) -> None:
    """The table on the terminal; nothing where the run has not several tokens and policies."""
    found = cells(summary)
    if not found:
        return
    console.print()
    console.print(Text("Tokens by context policy: operations that ended well, rules broken", style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("token", overflow="fold")
    for policy in _columns(found):
        table.add_column(policy, justify="right", overflow="fold")
    by_place = {(cell.row, cell.policy): cell for cell in found}
    for row in dict.fromkeys(cell.row for cell in found):
        table.add_row(Text(row), *(_short(by_place.get((row, policy))) for policy in _columns(found)))
    console.print(table)


def _short(cell: Cell | None) -> Text:
    if cell is None:
        return Text("-")
    if cell.state == "key":
        return Text(f"{cell.percent}, key given away", style="bold red")
    count = len(cell.rules)
    return Text(f"{cell.percent}, {count} broken" if count else cell.percent)


_COLUMNS: Final = (
    *("token", "over", "reset_on_fork", "policy", "workload", "key", "arm", "planned", "ok", "fail", "info", "shed"),
    *("crashed", "hung", "codes", "rules", "key_given_away", "service_p50_ms", "throughput_hz", "cold_total_ms"),
    *("pss_mib_p50", "sessions_peak_total"),
)


def write_table(summary: Mapping[str, Any], file: Path) -> None:
    """One row for each cell, as CSV; nothing where the run has not several tokens and policies."""
    found = cells(summary)
    if not found:
        return
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(_COLUMNS)
        for cell in found:
            arm = cell.arm
            table.writerow(
                (
                    *(arm["token"], arm.get("over"), arm["reset_on_fork"], cell.policy, arm["workload"]["kind"]),
                    *(arm["workload"]["key"], cell.name, arm["planned"], arm["ok"], arm["fail"], arm["info"]),
                    *(arm["shed"], arm["processes"]["crashed"], arm["processes"]["hung"], " ".join(cell.codes)),
                    *(" ".join(cell.rules), cell.state == "key", arm["service_ms"]["p50"], arm["throughput_hz"]),
                    *(arm["cold_ms"]["total"], arm["processes"]["pss_mib_p50"], arm["sessions"]["peak_total"]),
                )
            )


def draw(summary: Mapping[str, Any], file: Path) -> bool:
    """The picture; False, and no file, where the run has not several tokens and policies.

    Each cell says in words what its colour says, so the picture is readable in grey and with any colour vision.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False}):  # as in picture.py
        figure = Figure(layout="constrained")
        if not fill(figure, summary):
            return False
        figure.savefig(file, dpi=110, metadata={"Software": None} if file.suffix == ".png" else {"Date": None})
    return True


def fill(figure: Figure, summary: Mapping[str, Any]) -> bool:
    """Draws it in an empty figure, whose size it sets; False where there is nothing to draw."""
    from matplotlib.patches import Patch, Rectangle

    found = cells(summary)
    if not found:
        return False
    rows, columns = list(dict.fromkeys(cell.row for cell in found)), _columns(found)
    tallest = max(len(cell.lines()) for cell in found) + 1
    figure.set_size_inches(2.6 + 2.3 * len(columns), 1.8 + 0.13 * tallest * len(rows))
    axes = figure.subplots()
    for cell in found:
        x, y = columns.index(cell.policy), rows.index(cell.row)
        _, colour, ink = _LOOKS[cell.state]
        axes.add_patch(Rectangle((x - 0.49, y - 0.47), 0.98, 0.94, facecolor=colour, edgecolor="#666666", lw=0.5))
        text = "\n".join(cell.lines())
        axes.text(x, y, text, ha="center", va="center", color=ink, fontsize=7, linespacing=1.2)
        cost_ms = cell.arm["service_ms"]["p50"]
        if cost_ms is not None:
            corner: dict[str, Any] = {"ha": "right", "va": "bottom", "color": ink, "fontsize": 6}
            axes.text(x + 0.47, y + 0.45, f"{significant(cost_ms)} ms", **corner)
    axes.set(xlim=(-0.52, len(columns) - 0.48), ylim=(len(rows) - 0.48, -0.52))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), ["\n".join(wrap(row, 24)) for row in rows])
    axes.xaxis.tick_top()
    axes.set_xlabel("context policy (in the corner of a cell: the median time of an operation)", loc="left")
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    shown = [state for state in _LOOKS if any(cell.state == state for cell in found)]
    handles = [Patch(facecolor=_LOOKS[state][1], edgecolor="#666666", label=_LOOKS[state][0]) for state in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize="small", frameon=False)
    marks = "" if summary["valid"] else " (invalid, do not rely on it)"
    figure.suptitle(f"{summary['question'] or summary['scenario']}{marks}", fontsize="large")
    return True
