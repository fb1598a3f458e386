"""What stunnel's log tells of each connection, at `debug = 6` with `logId = thread`.

No line has the process, and no time a fraction of a second. A line's id is the kernel's of the connection's thread,
which has one connection and ends; so an id can come up again.
"""

from __future__ import annotations

import re
from typing import Final

from lab.servers.log_lines import Connection, second_ns, whole_lines
from lab.servers.model import ServerLog

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
_SECOND: Final = "%Y.%m.%d %H:%M:%S"
_NOT_TOLD: Final = 0


def read(text: str) -> ServerLog:
    """All connections of a log, also of one that was cut off in the middle of a line. Their pid is 0: not told."""
    connections: list[Connection] = []
    current: dict[str, Connection] = {}  # by id
    for line in whole_lines(text, _LINE):
        said = line["text"]
        if found := _ACCEPTED.match(said):
            current[line["id"]] = Connection(_NOT_TOLD, int(line["id"]), int(found[1]), second_ns(line, _SECOND))
            connections.append(current[line["id"]])
        elif (connection := current.get(line["id"])) is not None and connection.ended_ns is None:
            connection.well = said.startswith(_DONE)
            if connection.well or _CLOSED.match(said):
                connection.ended_ns = second_ns(line, _SECOND)
            elif int(line["level"]) <= _ERROR_LEVEL or _TOO_LATE in said:
                connection.errors.insert(0, said)  # it pops OpenSSL's queue, and prints it, from the end
    return ServerLog(tuple(connection.entry(exact=False) for connection in connections))
