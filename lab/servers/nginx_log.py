"""What nginx's error_log tells of each connection, at the level debug_event.

That level has the lines of all levels above it, and of the debugging ones those of events alone: `accept:` with the
client's port, and what each SSL_do_handshake returned. A client that makes no request is in no access_log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lab.servers.model import Entry, ServerLog
from lab.servers.openssl import Said, read_errors

LEVEL: Final = "debug_event"

_LINE: Final = re.compile(
    r"^(?P<day>\d{4}/\d\d/\d\d) (?P<time>\d\d:\d\d:\d\d) \[(?P<level>\w+)\] (?P<pid>\d+)#(?P<tid>\d+): "
    r"(?:\*(?P<connection>\d+) )?(?P<text>.*)$"
)
_ACCEPTED: Final = re.compile(r"^accept: \S*:(\d+) fd:\d+$")
_DONE: Final = "SSL_do_handshake: 1"
_CLIENT: Final = ", client: "  # nginx appends the client to what ends a connection, and to little else before TLS is up
_STALE: Final = "ignoring stale global SSL error"  # left over in its queue by what came before; nothing fails of it
_CRASHED: Final = re.compile(r"^\w[\w ]* process (\d+) exited on signal (\d+)")
_EXITED: Final = re.compile(r"^\w[\w ]* process (\d+) exited with (?:fatal )?code (\d+)")
_HANDSHAKING: Final = " while SSL handshaking"
_NS_PER_S: Final = 1_000_000_000


@dataclass
class _Connection:
    pid: int
    tid: int
    port: int
    opened_ns: int
    ended_ns: int | None = None
    well: bool = False
    failure: str = ""


def read(text: str) -> ServerLog:
    """All connections of a log, also of one that was cut off in the middle of a line.

    A connection that neither failed nor got through its handshake has no end: its worker died, or was told to stop.
    """
    connections: dict[tuple[int, int], _Connection] = {}
    crashes: dict[int, int] = {}
    exits: dict[int, int] = {}
    for line in _lines(text):
        said = line["text"]
        if line["connection"] is None:
            if found := _CRASHED.match(said):
                crashes[int(found[1])] = int(found[2])
            elif found := _EXITED.match(said):
                exits[int(found[1])] = int(found[2])
            continue
        key = int(line["pid"]), int(line["connection"])
        if found := _ACCEPTED.match(said):
            connections[key] = _Connection(key[0], int(line["tid"]), int(found[1]), _instant_ns(line))
        elif (connection := connections.get(key)) is not None and connection.ended_ns is None:
            connection.well = said == _DONE
            if connection.well or (_CLIENT in said and not said.startswith(_STALE)):
                connection.ended_ns = _instant_ns(line)
                connection.failure = "" if connection.well else said.partition(_CLIENT)[0].removesuffix(_HANDSHAKING)
    return ServerLog(tuple(map(_entry, connections.values())), crashes, exits)


def _lines(text: str) -> Iterator[re.Match[str]]:
    """Whole lines alone: of a cut-off one nobody knows whether `fd:1` or `SSL_do_handshake: 1` is all of it."""
    whole, newline, _ = text.rpartition("\n")
    matches = map(_LINE.match, whole.split("\n") if newline else ())
    return (line for line in matches if line is not None)


def _instant_ns(line: re.Match[str]) -> int:
    """CLOCK_REALTIME of the begin of the second that a log in UTC names."""
    day = datetime.strptime(f"{line['day']} {line['time']}", "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
    return int(day.timestamp()) * _NS_PER_S


def _entry(connection: _Connection) -> Entry:
    said = read_errors([connection.failure]) if connection.failure else Said()
    return Entry(
        pid=connection.pid,
        port=connection.port,
        opened_ns=connection.opened_ns,
        ended_ns=connection.ended_ns,
        well=connection.well,
        tid=connection.tid,
        exact=False,
        code=said.code,
        text=said.text or connection.failure,
        ckr=said.ckr,
        alert=said.alert,
    )
