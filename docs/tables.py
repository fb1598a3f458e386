"""The tables and the short answer of docs/bug-42688.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from docs.measured import (
    COMPARED,
    FIRST,
    HTTPD,
    NEITHER,
    PAIRS,
    PREPARED,
    Measured,
    first_of,
    later_of,
    middles,
    times,
    told_apart,
)
from lab.report.words import CAUSE, significant

_NUMBER: Final = re.compile(r"[-\d.,]+( \[.*\])?|n/a|none")
CHILDREN: Final = 100
"""Pre-forked children that the page multiplies by."""


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
