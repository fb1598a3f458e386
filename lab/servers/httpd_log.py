"""What httpd's ErrorLog tells of each connection, at `LogLevel ssl:debug`.

AH01964 is a connection, AH02041 its completed handshake, AH02008, AH01996 and AH02006 one that failed; the lines of
OpenSSL's errors follow the first two in the same thread. A child that a signal ended is told by its parent (AH00052).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from lab.servers.log_lines import Connection
from lab.servers.model import ServerLog

FORMAT: Final = "%{cu}t %-P %-{g}T %-a %-{c}L %-l %M"
"""Time in microseconds, process, kernel thread, client, connection, level; see httpd's ErrorLogFormat."""

_LINE: Final = re.compile(
    r"^(?P<day>\d{4}-\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d\.\d{6}) (?P<pid>\d+|-) (?P<tid>\d+|-) "
    r"(?P<client>\S+) (?P<connection>\S+) (?P<level>\S+) (?P<text>.*)$"
)
_CONNECTED, _DONE, _LEFT = "AH01964", "AH02041", "AH02006"
_FAILED: Final = ("AH02008", "AH01996")  # errors follow; the second is HTTP without TLS
_LIBRARY_ERROR: Final = "SSL Library Error:"
_SIGNAL: Final = re.compile(r"AH00052: child pid (\d+) exit signal .*\((\d+)\)")
_NS_PER_US: Final = 1_000


def read(text: str) -> ServerLog:
    """All connections of a log, also of one that was cut off in the middle of a line."""
    connections: dict[tuple[int, str], Connection] = {}
    failing: dict[tuple[int, int], Connection] = {}  # by process and thread: whose errors come next
    crashes: dict[int, int] = {}
    for line in _lines(text):
        pid, tid = int(line["pid"]), int(line["tid"]) if line["tid"] != "-" else int(line["pid"])
        said, key = line["text"], (pid, line["connection"])
        if said.startswith(_LIBRARY_ERROR):
            if (pid, tid) in failing:
                failing[pid, tid].errors.append(said)
            continue
        if said.startswith(_CONNECTED):
            port = int(line["client"].rpartition(":")[2])
            connections[key] = Connection(pid, tid, port, _instant_ns(line))
        elif said.startswith((_DONE, _LEFT, *_FAILED)) and key in connections:
            connection = connections[key]
            if connection.ended_ns is None:
                connection.ended_ns, connection.well = _instant_ns(line), said.startswith(_DONE)
                failing[pid, tid] = connection
                if connection.well:
                    del failing[pid, tid]
        elif found := _SIGNAL.search(said):
            crashes[int(found[1])] = int(found[2])
        if not said.startswith(_FAILED):
            failing.pop((pid, tid), None)
    return ServerLog(tuple(connection.entry(exact=True) for connection in connections.values()), crashes)


def _lines(text: str) -> Iterator[re.Match[str]]:
    matches: Iterable[re.Match[str] | None] = map(_LINE.match, text.splitlines())
    return (line for line in matches if line is not None and line["pid"] != "-")


def _instant_ns(line: re.Match[str]) -> int:
    """CLOCK_REALTIME, of a log in UTC, without the rounding of floating-point seconds."""
    whole = datetime.fromisoformat(f"{line['day']}T{line['time']}").replace(tzinfo=UTC)
    return (int(whole.timestamp()) * 1_000_000 + whole.microsecond) * _NS_PER_US
