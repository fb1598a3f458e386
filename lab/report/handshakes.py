"""What the terminal says of handshakes: the settings of TLS, who was accepted, and where the time went."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from lab.report import words
from lab.report.words import count, milliseconds, significant

Arm = Mapping[str, Any]
Line = tuple[str, Callable[[Arm], str]]

STRANGERS_SHOWN: Final = 6


def _tls(name: str) -> Callable[[Arm], str]:
    return lambda arm: str((arm.get("tls") or {}).get(name) or words.MISSING)


def _hosts(arm: Arm) -> str:
    tls = arm.get("tls") or {}
    number = tls.get("vhosts")
    if number is None:
        return words.MISSING
    return str(number) if number == 1 else f"{number:,} by {'SNI' if tls['vhost_by'] == 'sni' else 'IP address'}"


def _clients(arm: Arm) -> str:
    return count((arm.get("load") or {}).get("clients"))


SETTINGS: Final[tuple[Line, ...]] = (
    ("TLS version", _tls("version")),
    ("key exchange", _tls("key_exchange")),
    ("virtual hosts", _hosts),
    ("resumption", _tls("resumption")),
    ("connections per child", _tls("connections_per_child")),
    ("clients", _clients),
)
USUAL: Final = {"server": "lab", "key exchange": "ecdhe", "virtual hosts": "1", "resumption": "off"}


def _joined(arm: Arm) -> str:
    found = arm["connections"]
    share = found["join_share"]
    return count(found["joined"]) + ("" if share is None else f" ({_percent(share)})")


def _percent(share: float) -> str:
    """Rounded down where it is under 100 %, so that a lost one shows."""
    return f"{int(share * 1e4) / 100:g} %"


def _served(arm: Arm) -> str:
    found = arm["connections"]["processes"]
    least, most = found["handshakes_min"], found["handshakes_max"]
    return count(least) if least == most else f"{count(least)} to {count(most)}"


def _client_only(arm: Arm) -> str:
    """0 in summaries that are older than this figure."""
    found = arm["connections"]
    return words.MISSING if found["accepted"] is None else count(found.get("client_only", 0))


def _strangers(arm: Arm) -> str:
    found = arm["connections"]
    return words.MISSING if found["accepted"] is None else count(sum(one["count"] for one in found["strangers"]))


def _generator(arm: Arm) -> str:
    share = arm["generator"]["cpu_share"]
    return words.MISSING if share is None else f"{100 * share:.0f} %"


def _host(name: str) -> Callable[[Arm], str]:
    return lambda arm: milliseconds(arm["hosts"]["cold_ms"][name])


_GENERATOR: Final[Line] = ("generator's CPU, busiest", _generator)
_CONNECTIONS: Final[tuple[Line, ...]] = (
    ("accepted by the server", lambda arm: count(arm["connections"]["accepted"])),
    ("joined with their client", _joined),
    ("ended well for the client only", _client_only),
    ("strangers (no such client)", _strangers),
    ("resumed", lambda arm: count(arm["connections"]["resumed"])),
    ("handshakes of a process", _served),
    ("TLS contexts made", lambda arm: count(arm["hosts"]["tls_contexts"])),
    ("sessions: process and host", lambda arm: significant(arm["hosts"]["sessions_p50"])),
    ("key search of a host, ms", _host("find_key")),
    ("context of a host, ms", _host("tls_context")),
    ("its first handshake, ms", _host("first_handshake")),
    _GENERATOR,
)


def _mean(part: str) -> Callable[[Arm], str]:
    return lambda arm: words.MISSING if arm["where_ms"] is None else f"{arm['where_ms'][part]['mean']:,.3f}"


def _p99(part: str) -> Callable[[Arm], str]:
    return lambda arm: milliseconds((arm["where_ms"] or {}).get(part, {}).get("p99"))


def _whole(arm: Arm) -> str:
    parts = arm["where_ms"]
    return words.MISSING if parts is None else f"{sum(part['mean'] for part in parts.values()):,.3f}"


_MEANS: Final[tuple[Line, ...]] = (*((name, _mean(part)) for part, name in words.PART.items()), ("in all", _whole))
_P99: Final[tuple[Line, ...]] = tuple((f"p99: {name}", _p99(part)) for part, name in words.PART.items())


def where(arms: Mapping[str, Arm]) -> tuple[Line, ...]:
    """Lines of the table that says where time went; those of p99 only where an arm has enough operations for it."""
    shown = tuple(line for line in _P99 if any(line[1](arm) != words.MISSING for arm in arms.values()))
    return (*_MEANS, *shown)


def connections(arms: Mapping[str, Arm]) -> tuple[str, tuple[Line, ...]]:
    """Title and lines of the table of connections; what only a server of the lab's own can tell is left out without."""
    if all(map(external, arms.values())):
        return "The generator of the load", (_GENERATOR,)
    return "Connections", _CONNECTIONS


def external(arm: Arm) -> bool:
    """Whether the server is one that the lab did not start, of whose inside nothing is known."""
    return arm.get("server") == "external"


def are_in(arm: Arm) -> bool:
    """Whether the arm makes handshakes."""
    return arm.get("connections") is not None


def strangers(arms: Mapping[str, Arm]) -> Iterator[tuple[str, str]]:
    """For each arm with strangers its name, and what became of them."""
    for name, arm in arms.items():
        found = arm["connections"]["strangers"]
        if found:
            told = [f"{one['code']}, {words.counted(one['count'], 'time')}" for one in found[:STRANGERS_SHOWN]]
            yield name, "strangers: " + "; ".join(told)
