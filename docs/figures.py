"""The pictures and tables of docs/bug-42688.md, from a run folder of scenarios/bug-42688.toml.

    python -m docs.figures RUN

draws docs/pictures/bug-42688-*.png, puts the tables and the short answer, which have all figures of the page, between
its marks, and prints them. The figures are those of lab.analysis; the intervals are those of the lab's comparisons,
here also of pairs that the scenario, which has one baseline, does not compare.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab.analysis.comparisons import compare
from lab.analysis.facts import TrialFacts
from lab.commands.report import judge
from lab.errors import LabFault, ScenarioError
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import SIDE
from lab.record.model import TrialRecord
from lab.record.names import FUNCTION_NUMBER
from lab.record.run import Run
from lab.report.picture import log_axis
from lab.report.words import CAUSE, MISSING, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE: Final = Path(__file__).parent / "bug-42688.md"
PICTURES: Final = Path(__file__).parent / "pictures"

PREPARED: Final = (
    *("A-prefork", "B-prefork", "neither-unnoticed", "A-worker", "B-worker", "A-4-hosts-by-ip", "B-4-hosts-by-ip"),
)
"""Arms of the lab's own server whose children can answer, in the order of the page."""
NEITHER: Final = ("neither-prefork", "neither-worker", "neither-unnoticed", "neither-p11kit-remote")
HTTPD: Final = ("httpd-prefork", "httpd-worker", "httpd-4-hosts-by-ip", "httpd-p11kit-proxy")
FIRST: Final = ("A-prefork", "B-prefork", "A-worker", "B-worker", *HTTPD)
PAIRS: Final = (
    ("A-prefork", "B-prefork"),
    ("A-worker", "B-worker"),
    ("A-4-hosts-by-ip", "B-4-hosts-by-ip"),
    ("A-prefork", "A-worker"),
    ("A-prefork", "A-4-hosts-by-ip"),
    ("B-prefork", "B-4-hosts-by-ip"),
    ("neither-unnoticed", "A-prefork"),
    ("neither-unnoticed", "B-prefork"),
)
COMPARED: Final = ("cold_ms.total", "processes.pss_mib_p50")
MARGIN: Final = 0.10
_NUMBER: Final = re.compile(r"[-\d.,]+( \[.*\])?|n/a|none")
CHILDREN: Final = 100
"""Pre-forked children that the page multiplies by."""

LOOK: Final[Mapping[str, tuple[str, str]]] = {
    "A": ("o", "#0072B2"),
    "B": ("D", "#D55E00"),
    "neither": ("s", "#666666"),
    "httpd": ("^", "#009E73"),
}
"""Markers and colours (Okabe and Ito's, which differ in lightness too) of the four groups of arms."""


@dataclass
class Firsts:
    """Handshakes of one trial on its server, accept to end, in ms: the first of each process, and the later ones."""

    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)

    @staticmethod
    def of(connections: Table) -> Firsts:
        found = Firsts()
        served = (connections["side"] == SIDE["server"]) & (connections["outcome"] == columns.OK)
        lasted_ms = (connections["ended_ns"] - connections["opened_ns"]) / 1e6
        for process in np.unique(connections["process"][served]).tolist():
            own = np.flatnonzero(served & (connections["process"] == process))
            own = own[np.argsort(connections["opened_ns"][own], kind="stable")]
            found.first.append(float(lasted_ms[own[0]]))
            found.later += lasted_ms[own[1:]].tolist()
        return found


@dataclass(frozen=True)
class Measured:
    """A run: its summary, its manifest, and by arm its trials and their handshakes."""

    summary: dict[str, Any]
    manifest: Mapping[str, Any]
    trials: Mapping[str, Sequence[TrialFacts]]
    firsts: Mapping[str, Sequence[Firsts]]
    masters_ms: Sequence[float]  # C_Initialize in each master of httpd, the first in its process

    @staticmethod
    def read(folder: Path) -> Measured:
        """Raises ScenarioError where that is no run folder, LabFault where it cannot be read."""
        run = Run.open(folder)
        summary, judged = judge(run)
        trials: dict[str, list[TrialFacts]] = {arm: [] for arm in summary["arms"]}
        firsts: dict[str, list[Firsts]] = {arm: [] for arm in summary["arms"]}
        masters_ms: list[float] = []
        for path in run.trial_folders:
            stored = run.trial(path)
            facts = next((one for record, one in judged if record.number == stored.record.number), None)
            if facts is not None and facts.usable:
                table = stored.connections
                trials[facts.arm].append(facts)
                firsts[facts.arm].append(Firsts.of({name: table[name] for name in columns.CONNECTIONS}))
                masters_ms += _masters_ms(stored.record, stored.calls)
        return Measured(summary, run.manifest, trials, firsts, masters_ms)

    def arm(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.summary["arms"][name]
        return found

    def figures(self, arm: str, metric: str) -> list[float]:
        """The figure of each trial that has it."""
        found = [trial.figures().get(metric) for trial in self.trials[arm]]
        return [value for value in found if value is not None]

    def middle(self, arm: str, metric: str) -> float | None:
        values = self.figures(arm, metric)
        return median(values) if values else None

    def ratio(self, baseline: str, arm: str, metric: str) -> tuple[float | None, tuple[float, float] | None]:
        """arm / baseline, block by block, and its 95 % interval."""
        pair = {name: self.trials[name] for name in (baseline, arm)}
        (found,) = compare([baseline, arm], pair, {metric: MARGIN}, self.summary["seed"])
        return found.ratio, found.ci


def times(found: tuple[float | None, tuple[float, float] | None]) -> str:
    """A ratio as the page shows it: `3.1 [2.9, 3.4]`."""
    ratio, ci = found
    if ratio is None:
        return MISSING
    return _ratio(ratio) + (f" [{', '.join(_ratio(end) for end in ci)}]" if ci else "")


def told_apart(found: tuple[float | None, tuple[float, float] | None]) -> str:
    """A ratio, and whether this run can tell it from 1 at all."""
    _, ci = found
    open_ = ci is not None and ci[0] <= 1 <= ci[1]
    return times(found) + (" (which this run cannot tell from 1)" if open_ else "")


def _ratio(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 10 else significant(value)


def _masters_ms(record: TrialRecord, calls: Table) -> list[float]:
    masters = [process.index for process in record.processes if process.role == "master"]
    first = np.isin(calls["process"], masters) & (calls["function"] == FUNCTION_NUMBER["C_Initialize"])
    lasted_ns = calls["ended_ns"][first] - calls["started_ns"][first]
    return [float(lasted) / 1e6 for lasted in lasted_ns[:1]]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    every = list(rows)
    numbers = [all(_NUMBER.fullmatch(row[at]) for row in every) for at in range(len(heads))]
    lines = [heads, ["---:" if number else "---" for number in numbers], *every]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cost(run: Measured) -> str:
    """What each process pays once, in ms, with its memory and sessions."""
    heads = (
        *("arm", "cold start, ms", "C_Finalize", "module loaded", "C_Initialize", "C_Login", "keys", "TLS contexts"),
        *("first handshake", "memory of a process, MiB", "sessions of a process", "of the whole server"),
    )
    rows = []
    for arm in PREPARED:
        steps = ("total", "finalize", "load", "initialize", "login", "find_key", "tls_context", "first_operation")
        found = run.arm(arm)
        rows.append(
            [
                f"`{arm}`",
                *(significant(run.middle(arm, f"cold_ms.{step}")) for step in steps),
                significant(run.middle(arm, "processes.pss_mib_p50")),
                str(found["sessions"]["peak_per_process"]),
                str(found["sessions"]["peak_total"]),
            ]
        )
    return table(heads, rows)


def ratios(run: Measured) -> str:
    heads = ("ratio", "cold start [95 % interval]", "memory of a process [95 % interval]")
    return table(
        heads, [[f"`{arm}` / `{base}`", *(times(run.ratio(base, arm, one)) for one in COMPARED)] for base, arm in PAIRS]
    )


def first(run: Measured) -> str:
    """First and later handshakes on the server, and what the library did before the first use of the key."""
    heads = (
        *("arm", "set-up before it listens, ms", "library's calls in the first handshake, ms"),
        *("first handshake, ms", "later ones, ms", "first - later, ms"),
    )
    rows = []
    for arm in FIRST:
        firsts, later = (middles(run.firsts[arm], one) for one in (first_of, later_of))
        real = run.arm(arm)["real_server"] is not None
        total = run.middle(arm, "cold_ms.total")
        own_ms = run.middle(arm, "cold_ms.first_operation")
        before_ms = None if real or total is None or own_ms is None else total - own_ms
        between = [one - other for one, other in zip(firsts, later, strict=True)]
        rows.append(
            [
                f"`{arm}`",
                "none" if real else significant(before_ms),
                significant(total) if real else "none",
                *(significant(median(values) if values else None) for values in (firsts, later, between)),
            ]
        )
    return table(heads, rows)


def first_of(trial: Firsts) -> list[float]:
    return trial.first


def later_of(trial: Firsts) -> list[float]:
    return trial.later


def middles(trials: Iterable[Firsts], part: Callable[[Firsts], list[float]]) -> list[float]:
    """The median of each trial that has any."""
    return [median(part(trial)) for trial in trials if trial.first and trial.later]


def token_of(arm: Mapping[str, Any]) -> str:
    notices = arm["token"] == "softhsm" and ("notices forks" if arm["reset_on_fork"] else "does not notice forks")
    return f"{arm['token']}, {notices}" if notices else str(arm["token"])


def broken(arm: Mapping[str, Any]) -> str:
    names = [name for name, found in arm["rules"].items() if found["verdict"] == "violates"]
    return ", ".join(names) or "none"


def codes(arm: Mapping[str, Any]) -> str:
    """What failed, most frequent first: what servers said where they said something, otherwise what clients saw."""
    said = [one for one in arm["failures"] if one["side"] == "server"] or arm["failures"]
    return ", ".join(one["code"] for one in said[:2]) or "nothing"


def causes(arm: Mapping[str, Any]) -> str:
    found = {name: one for name, one in (arm["diagnosis"] or {}).items() if one["count"]}
    return "; ".join(f"{one['processes']} {CAUSE[name]}" for name, one in found.items()) or "none"


def neither(run: Measured) -> str:
    heads = ("arm", "token", "handshakes", "ended well", "what failed", "rules broken")
    rows = []
    for name in NEITHER:
        arm = run.arm(name)
        counted = [f"{arm['planned']:,}", f"{arm['ok']:,}"]
        rows.append([f"`{name}`", token_of(arm), *counted, codes(arm), broken(arm)])
    return table(heads, rows)


def real(run: Measured) -> str:
    """What the real server's context amounted to: per trial, so that they compare with the table of costs."""
    heads = (
        *("arm", "its context was", "children", "contexts made", "logins", "sessions open at the most"),
        *("memory of a process, MiB", "handshakes", "failed", "known causes, processes", "rules broken"),
    )
    rows = []
    for name in HTTPD:
        arm = run.arm(name)
        server, trials = arm["real_server"], arm["trials"] or 1
        rows.append(
            [
                f"`{name}`",
                server["policy"],
                f"{sum(server['processes']['workers'].values()) / trials:.2g}",
                f"{server['contexts'] / trials:.2g}",
                f"{server['logins'] / trials:.2g}",
                str(arm["sessions"]["peak_total"]),
                significant(run.middle(name, "processes.pss_mib_p50")),
                f"{arm['planned']:,}",
                f"{arm['planned'] - arm['ok']:,}",
                causes(arm),
                broken(arm),
            ]
        )
    return table(heads, rows)


def machine(run: Measured) -> str:
    """Where it was measured: from the manifest of the run."""
    found, versions = run.manifest["machine"], run.manifest["versions"]
    tokens = {f"{one['kind']} ({one['token']}, reported by the module)": None for one in run.manifest["tokens"]}
    bridges = {f"{one['bridge']} {one['package_version']}": None for one in run.manifest.get("bridges", ())}
    servers = {arm["real_server"]["version"]: None for arm in run.summary["arms"].values() if arm["real_server"]}
    rows = [
        ["machine", f"{found['cpu']}, {found['cpus']} CPUs, {found['memory_mib']:,} MiB, Linux {found['kernel']}"],
        ["system", found["system"]],
        ["load before, after", " and ".join(f"{run.manifest[at]['load_1min']:.1f}" for at in ("before", "after"))],
        ["tokens", ", ".join(tokens)],
        ["bridges of httpd", ", ".join(bridges)],
        ["servers", ", ".join(servers)],
        ["lab", f"{versions['pkcs11-context-lab']}, Python {versions['python']}, {run.summary['seed']} as seed"],
        ["run", f"{run.manifest['started']}, {max(arm['trials'] for arm in run.summary['arms'].values())} blocks"],
    ]
    lines = [["what", "which"], ["---", "---"], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def answer(run: Measured) -> str:
    """The short answer, with its figures."""

    def ms(arm: str) -> float:
        return run.middle(arm, "cold_ms.total") or 0.0

    def mib(arm: str) -> float:
        return run.middle(arm, "processes.pss_mib_p50") or 0.0

    def over(arm: str) -> str:
        return f"{mib(arm) - mib('neither-unnoticed'):.1f} MiB"

    def extra_ms(arm: str) -> float:
        firsts, later = (middles(run.firsts[arm], one) for one in (first_of, later_of))
        return median([one - other for one, other in zip(firsts, later, strict=True)])

    b_to_a = told_apart(run.ratio("A-prefork", "B-prefork", "cold_ms.total"))
    a_in_worker = told_apart(run.ratio("A-prefork", "A-worker", "cold_ms.total"))
    in_worker = told_apart(run.ratio("A-worker", "B-worker", "cold_ms.total"))
    by_ip = [told_apart(run.ratio(f"{one}-prefork", f"{one}-4-hosts-by-ip", "cold_ms.total")) for one in "AB"]
    a, b = ms("A-prefork") - ms("neither-unnoticed"), ms("B-prefork") - ms("neither-unnoticed")
    sessions = {name: run.arm(name)["sessions"] for name in ("A-prefork", "A-worker")}
    served = [run.arm(name) for name in HTTPD]
    planned, ok = sum(arm["planned"] for arm in served), sum(arm["ok"] for arm in served)
    went_wrong = Counter({name: sum(_processes(arm, name) for arm in served) for name in CAUSE})
    told = "; ".join(f"{number} {CAUSE[name]}" for name, number in went_wrong.items() if number) or "no cause was found"
    refused = [run.arm(name) for name in NEITHER if name != "neither-unnoticed"]
    unnoticed = run.arm("neither-unnoticed")
    httpd = run.arm("httpd-prefork")["real_server"]
    points = [
        f"**A, a context for each process**, costs each pre-forked child {a:.0f} ms and {over('A-prefork')} more than a"
        f" child has that uses its parent's, and {sessions['A-prefork']['peak_per_process']} session. {CHILDREN}"
        f" children that do so one after the other would take {a * CHILDREN / 1000:.1f} s (a product, not a"
        f" measurement). In worker, a process pays {a_in_worker} times"
        f" that once, for all its threads; each thread has a session"
        f" ({sessions['A-worker']['peak_per_process']} for each process here).",
        f"**B, a reload after the fork**, costs {b_to_a} times what A does in prefork, and {in_worker} times in"
        f" worker: {b:.1f} ms and {over('B-prefork')} for each pre-forked child. Sessions are those of A and the"
        " parent's. What was loaded and made in the parent (the library, SSL_CTX, certificates) stays of use.",
        f"**Four hosts by IP address** make the cold start {by_ip[0]} times as long with A and {by_ip[1]} with B, and"
        " add no session. Both work with them; that the patch left them out is no limit of the idea.",
        f"**With neither**, it depends on the token. Where the fork is noticed, {sum(one['ok'] for one in refused)} of"
        f" {sum(one['planned'] for one in refused)} handshakes ended well, each child answering"
        f" {codes(refused[0])}. Where it is not, {unnoticed['ok']} of {unnoticed['planned']} did, and each child used"
        f" handles that are not its own: nobody sees an error, and rules are broken ({broken(unnoticed)}).",
        "**The real httpd does B today where the token notices forks, because its library does** (libp11 0.4.12 here)."
        " mod_ssl is as the report found it; libp11 calls C_Initialize again within the first handshake of each child"
        f" ({_lazily(httpd)}). That handshake takes {extra_ms('httpd-prefork'):.1f} ms longer in prefork and"
        f" {extra_ms('httpd-worker'):.1f} ms in worker. Over a token that notices none, such as SoftHSM as installed,"
        " httpd gets neither: see the arm `engine` of scenarios/stacks.toml.",
        f"**What is left open is the reload itself.** It comes when clients come, in several children at the same time,"
        f" and SoftHSM hides its token from others while one logs in: {planned - ok:,} of {planned:,} handshakes with"
        f" httpd did not end well (causes that were found, in processes: {told}). And libp11 0.4.12 says that there"
        " are no threads, which worker does not survive; here the tap says otherwise.",
    ]
    return "\n".join(f"- {point}" for point in points)


def _lazily(server: Mapping[str, Any]) -> str:
    workers = sum(server["processes"]["workers"].values())
    return f"{server['initialized']['with_first_handshake']} of {workers} children"


def _processes(arm: Mapping[str, Any], cause: str) -> int:
    found = (arm["diagnosis"] or {}).get(cause)
    return found["processes"] if found and found["count"] else 0


def initialising(run: Measured) -> str:
    """What a first C_Initialize takes in a child, a second one, and a first one in httpd's master."""
    steps = [run.middle(arm, "cold_ms.initialize") for arm in ("A-prefork", "B-prefork")]
    master_ms = median(run.masters_ms) if run.masters_ms else None
    return (
        "- **Option A in httpd may be cheaper than here.** A's children make the first C_Initialize of their process"
        f" ({significant(steps[0])} ms), B's a second one ({significant(steps[1])} ms). The first one of httpd's"
        f" master, where OpenSSL and the module's library are at work already, takes {significant(master_ms)} ms: a"
        " server that prepares so much before the fork would leave less for A to do. That was not measured."
    )


BLOCKS: Final[Mapping[str, Callable[[Measured], str]]] = {
    "answer": answer,
    "cost": cost,
    "ratios": ratios,
    "first": first,
    "neither": neither,
    "real": real,
    "machine": machine,
    "initialising": initialising,
}
"""What stands between the page's marks, by name."""


def group(arm: str) -> str:
    return arm.partition("-")[0]


def _rows(axes: Axes, arms: Sequence[str]) -> None:
    axes.set_yticks(range(len(arms)), arms)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", which="major", alpha=0.3)


def _dots(axes: Axes, row: float, values: Sequence[float], arm: str, filled: bool = True) -> None:
    """All values, spread a little so that equal ones are seen, and a bar at their median."""
    marker, colour = LOOK[group(arm)]
    spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(len(values))
    face = colour if filled else "white"
    axes.plot(values, row + spread, marker, color=colour, markerfacecolor=face, ms=5, alpha=0.75)
    if values:
        axes.plot([median(values)] * 2, [row - 0.3, row + 0.3], "-", color="black", lw=1.6)


def _log(axes: Axes, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    low, high, ticks = log_axis(values)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_cost(run: Measured, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels: Any = figure.subplots(1, 3, sharey=True)
    metrics = ("cold_ms.total", "processes.pss_mib_p50", "sessions.peak_total")
    labels = ("cold start of a process, ms (log)", "memory of a process, MiB (PSS)", "open sessions, whole server")
    for axes, metric, label in zip(panels, metrics, labels, strict=True):
        every = {arm: run.figures(arm, metric) for arm in PREPARED}
        for row, (arm, values) in enumerate(every.items()):
            _dots(axes, row, values, arm)
        _rows(axes, PREPARED)
        axes.set_xlabel(label)
        if metric.startswith("cold_ms"):
            _log(axes, [value for values in every.values() for value in values])
        else:
            axes.set_xlim(0, 1.15 * max(value for values in every.values() for value in values))
    figure.suptitle("What each process pays for its context: a dot for each trial, a bar at their median")
    _save(figure, file)


def draw_first(run: Measured, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes = figure.subplots()
    every = []
    for row, arm in enumerate(FIRST):
        firsts = [value for trial in run.firsts[arm] for value in trial.first]
        later = [value for trial in run.firsts[arm] for value in trial.later]
        _dots(axes, row - 0.2, firsts, arm)
        _dots(axes, row + 0.25, later, arm, filled=False)
        every += firsts + later
    _rows(axes, FIRST)
    _log(axes, every)
    axes.set_xlabel("handshake on the server, from accept to its end, ms (log)")
    figure.suptitle(
        "The first handshake of each child (filled, above) and its later ones (hollow, below), of all trials;"
        " bars at medians"
    )
    _save(figure, file)


def draw_outcomes(run: Measured, file: Path) -> None:
    from matplotlib.figure import Figure

    arms = (*NEITHER, *HTTPD)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(arms):
        shares = [100 * trial.outcomes.ok / (trial.outcomes.planned or 1) for trial in run.trials[name]]
        _dots(axes, row, shares, name)
        arm = run.arm(name)
        text = f"{broken(arm)}" if group(name) == "neither" else causes(arm)
        what = "rules broken" if group(name) == "neither" else "known causes"
        axes.text(103, row, f"{token_of(arm)}\n{what}: {text}", fontsize="x-small", va="center")
    _rows(axes, arms)
    axes.set(xlim=(-2, 102), xlabel="handshakes that ended well, %: a dot for each trial, a bar at their median")
    figure.suptitle("With neither, and with the real httpd")
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=110, bbox_inches="tight", metadata={"Software": None})


DRAWN: Final[Mapping[str, Callable[[Measured, Path], None]]] = {
    "bug-42688-cost.png": draw_cost,
    "bug-42688-first-handshake.png": draw_first,
    "bug-42688-outcomes.png": draw_outcomes,
}


def renewed(page: str, blocks: Mapping[str, str]) -> str:
    """The page with its marked parts replaced. Raises KeyError where it has a mark that is no block."""
    mark = re.compile(r"(<!-- (\w+): .*? -->\n).*?(<!-- end -->)", re.DOTALL)
    return mark.sub(lambda found: f"{found[1]}{blocks[found[2]]}\n{found[3]}", page)


def main(folder: Path) -> int:
    try:
        run = Measured.read(folder)
    except (ScenarioError, LabFault) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    missing = {*PREPARED, *NEITHER, *HTTPD} - set(run.summary["arms"])
    if missing:
        print(f"error: {folder}: no run of bug-42688, it lacks {', '.join(sorted(missing))}", file=sys.stderr)
        return 2
    blocks = {name: made(run) for name, made in BLOCKS.items()}
    for name, text in blocks.items():
        print(f"{name}:\n\n{text}\n")
    PICTURES.mkdir(exist_ok=True)
    for name, draw in DRAWN.items():
        draw(run, PICTURES / name)
    PAGE.write_text(renewed(PAGE.read_text(), blocks))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.figures RUN")
    sys.exit(main(Path(sys.argv[1])))
