"""A summary on the terminal, for a reader without the docs. Fits 80 columns; plain text where it is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.report import brokers, doubtful, handshakes, nonces, real_servers, token_grid, traced, words
from lab.report.side_by_side import Arm, Line, grid, table
from lab.report.words import count, milliseconds, significant

FAILURES_SHOWN: Final = 6
COMPARISONS_SHOWN: Final = 40


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Prints a summary (DESIGN 6.3); missing values as n/a."""
    arms: Mapping[str, Arm] = summary["arms"]
    if traced.is_trace(summary):
        _trace(summary, arms, console)
        return
    open_loop = {name: arm for name, arm in arms.items() if _is_open(arm)}
    closed_loop = {name: arm for name, arm in arms.items() if not _is_open(arm)}
    console.print(Text(summary["scenario"], style="bold"))
    console.print(Text(f"run {summary['run']}, seed {summary['seed']}", style="dim"))
    if summary.get("question"):
        console.print(Text(summary["question"], style="italic"))
    if chosen := summary.get("blocks_chosen"):
        console.print(Text(words.blocks_chosen(chosen, why=False), style="dim"))
    _validity(summary, console)
    _skipped(summary.get("skipped") or {}, console)
    nonces.show(arms, console)
    _arms(console, arms)
    _told(console, doubtful.TITLE, doubtful.told(arms))
    token_grid.show(summary, console)
    if open_loop:
        grid(
            console,
            "Open loop, in ms (response: from the planned time, service: from the start)",
            open_loop,
            _OPEN_LINES,
        )
    if closed_loop:
        who = "client" if all(map(handshakes.are_in, closed_loop.values())) else "thread"
        grid(console, f"Closed loop: each {who} started the next operation at once", closed_loop, _CLOSED_LINES)
    tls = {name: arm for name, arm in arms.items() if handshakes.are_in(arm)}
    ours = {name: arm for name, arm in arms.items() if not handshakes.external(arm)}
    joined = {name: arm for name, arm in tls.items() if name in ours}
    if any(arm["where_ms"] for arm in joined.values()):
        grid(console, "Where the time of a handshake went, ms (means, which add up)", joined, handshakes.where(joined))
    if tls:
        title, lines = handshakes.connections(tls)
        grid(console, title, tls, lines)
        for name, told in handshakes.strangers(tls):
            bullet(console, Text(f"{name}: ", style="bold").append(told, style="not bold"))
    real = {name: arm for name, arm in arms.items() if arm.get("real_server")}
    if real:
        grid(console, "What the context of a real server amounted to", real, real_servers.AMOUNTED_TO)
    if ours:  # nothing is known of the inside of another's server
        grid(console, "What a context costs", ours, _costs(ours))
    if brokers.are_in(arms):
        having = {name: arm for name, arm in arms.items() if arm.get("at_token")}
        grid(console, brokers.TITLE, having, brokers.LINES)
    _told(console, "Restarts", real_servers.restarts(real))
    _failures(arms, console)
    _told(console, "Known causes, found in the calls", real_servers.diagnoses(arms))
    if ours:
        _rules(ours, console)
    _comparisons(summary["comparisons"], console)


def _told(console: Console, title: str, lines: Iterable[tuple[str, str, str]]) -> None:
    """Lines of (arm, what, evidence) under a title; nothing where there are none."""
    for place, (name, what, evidence) in enumerate(lines):
        if not place:
            console.print()
            console.print(Text(title, style="bold"))
        bullet(console, Text(f"{name}: ", style="bold").append(what, style="not bold"))
        if evidence:
            console.print(Padding(Text(evidence, style="dim"), (0, 0, 0, 4)))


def _trace(summary: Mapping[str, Any], arms: Mapping[str, Arm], console: Console) -> None:
    """A traced program: no operations, so what is left is who called what, and whether that is allowed."""
    console.print(Text(summary["scenario"], style="bold"))
    console.print(Text(f"run {summary['run']}", style="dim"))
    _validity(summary, console, "Every call that reached the tap is accounted for.")
    for name, arm in arms.items():
        for title, found in traced.tables(name, arm, console.width):
            console.print()
            console.print(Text(title, style="bold"))
            console.print(found)
    _failures(arms, console)
    _told(console, "Known causes, found in the calls", real_servers.diagnoses(arms))
    _rules(arms, console)


def _validity(
    summary: Mapping[str, Any], console: Console, well: str = "Valid: every planned operation is accounted for."
) -> None:
    if summary.get("partial"):
        console.print(Text("Interrupted: this is what was measured until then.", style="yellow"))
    if summary["valid"]:
        console.print(Text(well, style="green"))
        return
    console.print(Text("Not valid, do not rely on the figures:", style="bold red"))
    for reason in summary["invalid_because"]:
        bullet(console, Text(reason))


def _skipped(reasons: Mapping[str, str], console: Console) -> None:
    """Arms that did not run on this machine, one line for each reason."""
    for reason in dict.fromkeys(reasons.values()):
        names = ", ".join(name for name, why in reasons.items() if why == reason)
        bullet(console, Text("left out: ", style="yellow").append(f"{names} ({reason})", style="default"))


def _is_open(arm: Arm) -> bool:
    load = arm.get("load")
    return load["mode"] == "open" if load else arm["response_ms"].get("max") is not None


def shape(arm: Arm) -> str:
    topology = arm["topology"]
    if topology["kind"] is None:
        return words.MISSING
    return f"{topology['kind']} {topology['processes']} x {topology['threads']}"


def policy(arm: Arm) -> str:
    if arm["context"] is None:
        if handshakes.external(arm):
            return words.MISSING
        return "by its library" if arm["token"] else "none"  # a real server has a context, and no policy of the lab's
    return f"{arm['context']} ({arm['inherit']})" if arm.get("inherit") else str(arm["context"])


def workload(arm: Arm) -> str:
    workload = arm["workload"]
    parts = [workload["kind"], workload["key"], workload["mechanism"]]
    if workload.get("driver") not in (None, "native"):
        parts.append(workload["driver"])
    return " ".join(part for part in parts if part)


def load(arm: Arm) -> str:
    load = arm.get("load")
    if not load:
        return words.MISSING
    return f"open, {load['rate_hz']:,.10g} Hz" if load.get("rate_hz") else str(load["mode"])


def _plain(name: str) -> Callable[[Arm], str]:
    return lambda arm: str(arm.get(name) or words.MISSING)


def _quantile(group: str, name: str) -> Callable[[Arm], str]:
    return lambda arm: milliseconds((arm.get(group) or {}).get(name))


def _ended(arm: Arm) -> str:
    processes = arm["processes"]
    return f"{processes['started']:,} / {processes['crashed']:,} / {processes['hung']:,}"


def _peaks(arm: Arm) -> str:
    return f"{arm['sessions']['peak_per_process']:,} / {arm['sessions']['peak_total']:,}"


def _sessions(arm: Arm) -> str:
    return f"{arm['sessions']['opened']:,} / {arm['sessions']['leaked']:,}"


def _reset(arm: Arm) -> str:
    known = arm.get("reset_on_fork")
    return words.MISSING if known is None else "yes" if known else "no"


_SETTINGS: Final[tuple[Line, ...]] = (
    ("context policy", policy),
    ("topology, processes x threads", shape),
    ("session policy", _plain("session")),
    ("locking", _plain("locking")),
    ("workload", workload),
    ("load", load),
    ("start", _plain("start")),
    ("fork point", _plain("fork_point")),
    ("token", _plain("token")),
    ("reset on fork", _reset),
    ("bridge", _plain("bridge")),
    ("server", _plain("server")),
    *handshakes.SETTINGS,
    *real_servers.SETTINGS,
    ("trials", lambda arm: count(arm["trials"])),
)
_USUAL: Final = {"start": "staggered", "fork point": "idle", "token": "softhsm", "reset on fork": "no"}
_USUAL.update(handshakes.USUAL | real_servers.USUAL)
"""Settings that are not worth a word where every arm has them; nor is one that no arm has."""

_MAIN: Final = (
    "context policy",
    "topology",
    "session policy",
    "locking",
    "workload",
    "load",
    "token",
    "reset",
    "trials",
)


def further_settings(arms: Mapping[str, Arm]) -> list[Line]:
    """Settings beside the main ones (context to token) that are worth a word of any arm."""
    rest = [line for line in _SETTINGS if not line[0].startswith(_MAIN)]
    usual = {label: (words.MISSING, _USUAL.get(label)) for label, _ in rest}
    return [(label, text) for label, text in rest if any(text(arm) not in usual[label] for arm in arms.values())]


_COUNT_LINES: Final[tuple[Line, ...]] = (
    ("ok", lambda arm: count(arm["ok"])),
    ("fail (an error came back)", lambda arm: count(arm["fail"])),
    ("info (crash, hang: unknown)", lambda arm: count(arm["info"])),
    ("shed (never begun)", lambda arm: count(arm["shed"])),
)
_OPEN_LINES: Final[tuple[Line, ...]] = (
    ("response p50", _quantile("response_ms", "p50")),
    ("response p99", _quantile("response_ms", "p99")),
    ("service p50", _quantile("service_ms", "p50")),
    ("service p99", _quantile("service_ms", "p99")),
    ("generator late, p99", _quantile("generator_lag_ms", "p99")),
    ("done per second", lambda arm: significant(arm["throughput_hz"])),
)
_CLOSED_LINES: Final[tuple[Line, ...]] = (
    ("done per second", lambda arm: significant(arm["throughput_hz"])),
    ("service p50, ms", _quantile("service_ms", "p50")),
    ("service p99, ms", _quantile("service_ms", "p99")),
)
_COST_LINES: Final[tuple[Line, ...]] = (
    ("C_Initialize, ms", _quantile("cold_ms", "initialize")),
    ("C_Login, ms", _quantile("cold_ms", "login")),
    ("key search, ms", _quantile("cold_ms", "find_key")),
    ("first operation, ms", _quantile("cold_ms", "first_operation")),
    ("in all, from load to done, ms", _quantile("cold_ms", "total")),
    ("memory per process, MiB", lambda arm: significant(arm["processes"]["pss_mib_p50"])),
    ("sessions opened / leaked", _sessions),
    ("most open: process / all", _peaks),
    ("workers / crashed / hung", _ended),
)

_TLS_COST_LINES: Final[tuple[Line, ...]] = (
    ("key through the bridge's library, ms", _quantile("cold_ms", "open_key")),
    ("TLS context, ms", _quantile("cold_ms", "tls_context")),
)


def _costs(arms: Mapping[str, Arm]) -> list[Line]:
    """Lines of what a context costs; those of TLS only where an arm has the figure."""
    tls = [line for line in _TLS_COST_LINES if any(line[1](arm) != words.MISSING for arm in arms.values())]
    return [*_COST_LINES[:3], *tls, *_COST_LINES[3:]]


def _arms(console: Console, arms: Mapping[str, Arm]) -> None:
    """The settings that differ, side by side with what became of the operations; what all arms share is said once."""
    values = {label: [text(arm) for arm in arms.values()] for label, text in _SETTINGS}
    differ = [line for line in _SETTINGS if len(set(values[line[0]])) > 1]
    shared = {label: found[0] for label, found in values.items() if len(set(found)) == 1}
    told = [
        f"{label.partition(',')[0]} {value}"
        for label, value in shared.items()
        if value not in (words.MISSING, _USUAL.get(label))
    ]
    console.print()
    console.print(Text("Arms", style="bold"))
    if told:
        every = "in every arm: " if len(arms) > 1 else ""
        console.print(Padding(Text(every + "; ".join(told)), (0, 0, 0, 2)))
    table(console, arms, (*differ, *_COUNT_LINES))


def _failures(arms: Mapping[str, Arm], console: Console) -> None:
    console.print()
    console.print(Text("Failures", style="bold"))
    if not any(arm["failures"] for arm in arms.values()):
        console.print("  none")
        return
    for name, arm in arms.items():
        found = arm["failures"]
        for each in found[:FAILURES_SHOWN]:
            line = Text(f"{name}: ", style="bold").append(failure(each), style="not bold")
            bullet(console, line)
        if len(found) > FAILURES_SHOWN:
            others = words.counted(len(found) - FAILURES_SHOWN, "other kind")
            bullet(console, Text(f"{name}: and {others}, in summary.json"))


def failure(found: Mapping[str, Any]) -> str:
    """One kind of failure as a sentence without its end."""
    processes = words.counted(found["processes"], "process", "processes")
    if found["layer"] == "hang":
        return f"{processes} {found['code']}"  # which begins with `hung`
    if found["layer"] == "exit":
        return f"{processes} ended: {found['code']}"
    if found["layer"] == "signal":
        where = f", in {', '.join(found['functions'])}" if found.get("functions") else ""
        return f"{found['code']} ended {processes}{where}"
    text = f"{found['code']}, {words.counted(found['count'], 'time')} in {processes}"
    functions = sorted(found.get("functions", {}).items(), key=lambda item: -item[1])
    if functions and functions[0][0] != "-":
        text += f", from {', '.join(name for name, _ in functions[:3])}"
    if found.get("side"):
        text += f", seen by the {found['side']}"
    return text + (f" ({found['setup']:,} before the load)" if found.get("setup") else "")


def _rules(arms: Mapping[str, Arm], console: Console) -> None:
    console.print()
    console.print(Text("Rules of the standard, and of safety", style="bold"))
    for name, arm in arms.items():
        rules = arm["rules"]
        broken = [rule for rule, found in rules.items() if found["verdict"] == "violates"]
        open_ = [rule for rule, found in rules.items() if found["verdict"] == "undefined"]
        kept = sum(found["verdict"] == "conforms" for found in rules.values())
        idle = sum(found["verdict"] == "not-exercised" for found in rules.values())
        line = Text(f"{name}: ", style="bold")
        line.append(
            f"{kept} kept, {len(broken)} broken, {len(open_)} undefined, {idle} not exercised", style="not bold"
        )
        bullet(console, line)
        for rule in (*broken, *open_):
            verb = words.RULE.get(rule, "broke it") if rule in broken else "could not be judged"
            text = Text(f"{rule}: ", style="red" if rule in broken else "yellow").append(verb, style="default")
            bullet(console, text, 4)
            console.print(Padding(Text(rules[rule]["evidence"], style="dim"), (0, 0, 0, 6)))


def _comparisons(found: Sequence[Mapping[str, Any]], console: Console) -> None:
    if not found:
        return
    console.print()
    console.print(Text("Comparisons, trial by trial within each block [95 % interval]", style="bold"))
    lines: dict[str, str] = {}
    for each in found:
        if each["verdict"] == "not-comparable":  # mostly for a reason that all metrics share
            lines[f"{each['arm']} cannot be compared with {each['baseline']}: {each['because']}"] = "yellow"
        else:
            lines[words.comparison(each)] = STYLE.get(each["verdict"], "default")
    for text, style in list(lines.items())[:COMPARISONS_SHOWN]:
        bullet(console, Text(text, style=style))
    if len(lines) > COMPARISONS_SHOWN:
        bullet(console, Text(f"and {len(lines) - COMPARISONS_SHOWN} more, in summary.json"))


STYLE: Final = {"faster": "green", "slower": "red", "equivalent": "cyan"}


def bullet(console: Console, text: Text, indent: int = 2) -> None:
    """One line of a list."""
    line = Table.grid(padding=0)
    line.add_column(width=indent)
    line.add_column(overflow="fold")
    line.add_row("-".rjust(indent - 1), text)
    console.print(line)
