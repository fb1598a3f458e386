"""What stunnel's log tells of each connection, at `debug = 6` with `logId = thread`.

No line has the process, and no time a fraction of a second. A line's id is the kernel's of the connection's thread,
which has one connection and ends; so an id can come up again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from lab.servers.model import Entry, ServerLog
from lab.servers.openssl import read_errors

LEVEL: Final = 6
SERVICE: Final = "lab"

_LINE: Final = re.compile(
    r"^(?P<day>\d{4}\.\d\d\.\d\d) (?P<time>\d\d:\d\d:\d\d) LOG(?P<level>\d)\[(?P<id>[^\]]*)\]: (?P<text>.*)$"
)
_ACCEPTED: Final = re.compile(rf"^Service \[{SERVICE}\] accepted connection from \S*:(\d+)$")
_DONE: Final = "TLS accepted: "
_CLOSED: Final = re.compile(r"^Connection (?:closed|reset)")
_ERROR_LEVEL: Final = 3
_TOO_LATE: Final = "TIMEOUTbusy exceeded"  # is no error to it
_NS_PER_S: Final = 1_000_000_000


@dataclass
class _Connection:
    tid: int
    port: int
    opened_ns: int
    ended_ns: int | None = None
    well: bool = False
    errors: list[str] = field(default_factory=list)


def read(text: str) -> ServerLog:
    """All connections of a log, also of one that was cut off in the middle of a line. Their pid is 0: not told."""
    connections: list[_Connection] = []
    current: dict[str, _Connection] = {}  # by id
    for line in _lines(text):
        said = line["text"]
        if found := _ACCEPTED.match(said):
            current[line["id"]] = _Connection(int(line["id"]), int(found[1]), _instant_ns(line))
            connections.append(current[line["id"]])
        elif (connection := current.get(line["id"])) is not None and connection.ended_ns is None:
            connection.well = said.startswith(_DONE)
            if connection.well or _CLOSED.match(said):
                connection.ended_ns = _instant_ns(line)
            elif int(line["level"]) <= _ERROR_LEVEL or _TOO_LATE in said:
                connection.errors.append(said)
    return ServerLog(tuple(map(_entry, connections)))


def _lines(text: str) -> Iterator[re.Match[str]]:
    """Whole lines alone: a cut-off one may lack digits of a port."""
    whole, newline, _ = text.rpartition("\n")
    matches = map(_LINE.match, whole.split("\n") if newline else ())
    return (line for line in matches if line is not None)


def _instant_ns(line: re.Match[str]) -> int:
    """CLOCK_REALTIME of the begin of the second that a log in UTC names."""
    day = datetime.strptime(f"{line['day']} {line['time']}", "%Y.%m.%d %H:%M:%S").replace(tzinfo=UTC)
    return int(day.timestamp()) * _NS_PER_S


def _entry(connection: _Connection) -> Entry:
    said = read_errors(reversed(connection.errors))  # it pops OpenSSL's queue, and prints it, from the end
    return Entry(
        pid=0,
        port=connection.port,
        opened_ns=connection.opened_ns,
        ended_ns=connection.ended_ns,
        well=connection.well,
        tid=connection.tid,
        exact=False,
        code=said.code,
        text=said.text or (connection.errors[0] if connection.errors else ""),
        ckr=said.ckr,
        alert=said.alert,
    )
