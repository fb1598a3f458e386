"""What nginx's error_log tells of each connection, at the level debug_event.

That level has the lines of all levels above it, and of the debugging ones those of events alone: `accept:` with the
client's port, and what each SSL_do_handshake returned. A client that makes no request is in no access_log.
"""

from __future__ import annotations

import re
from typing import Final

from lab.servers.log_lines import Connection, second_ns, whole_lines
from lab.servers.model import ServerLog

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
_SECOND: Final = "%Y/%m/%d %H:%M:%S"


def read(text: str) -> ServerLog:
    """All connections of a log, also of one that was cut off in the middle of a line.

    A connection that neither failed nor got through its handshake has no end: its worker died, or was told to stop.
    """
    connections: dict[tuple[int, int], Connection] = {}
    crashes: dict[int, int] = {}
    exits: dict[int, int] = {}
    for line in whole_lines(text, _LINE):
        said = line["text"]
        if line["connection"] is None:
            if found := _CRASHED.match(said):
                crashes[int(found[1])] = int(found[2])
            elif found := _EXITED.match(said):
                exits[int(found[1])] = int(found[2])
            continue
        key = int(line["pid"]), int(line["connection"])
        if found := _ACCEPTED.match(said):
            connections[key] = Connection(key[0], int(line["tid"]), int(found[1]), second_ns(line, _SECOND))
        elif (connection := connections.get(key)) is not None and connection.ended_ns is None:
            connection.well = said == _DONE
            if connection.well or (_CLIENT in said and not said.startswith(_STALE)):
                connection.ended_ns = second_ns(line, _SECOND)
                if not connection.well:
                    connection.errors.append(said.partition(_CLIENT)[0].removesuffix(_HANDSHAKING))
    return ServerLog(tuple(connection.entry(exact=False) for connection in connections.values()), crashes, exits)
