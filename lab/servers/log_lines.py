"""What the readers of servers' logs have in common: lines, seconds, and a connection as it is gathered from lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from lab.servers.model import Entry
from lab.servers.openssl import read_errors

_NS_PER_S: Final = 1_000_000_000


@dataclass
class Connection:
    """A connection, as far as the lines until now tell it. errors: in the order in which they came about."""

    pid: int
    tid: int
    port: int
    opened_ns: int
    ended_ns: int | None = None
    well: bool = False
    errors: list[str] = field(default_factory=list)

    def entry(self, exact: bool) -> Entry:
        """See Entry. Where no error is OpenSSL's, the last one is told as it stands."""
        said = read_errors(self.errors)
        return Entry(
            pid=self.pid,
            port=self.port,
            opened_ns=self.opened_ns,
            ended_ns=self.ended_ns,
            well=self.well,
            tid=self.tid,
            exact=exact,
            code=said.code,
            text=said.text or (self.errors[-1] if self.errors else ""),
            ckr=said.ckr,
            alert=said.alert,
        )


def whole_lines(text: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """The lines that match, but for a cut-off last one: nobody knows which digits of a number it lacks."""
    whole, newline, _ = text.rpartition("\n")
    matches = map(pattern.match, whole.split("\n") if newline else ())
    return (line for line in matches if line is not None)


def second_ns(line: re.Match[str], form: str) -> int:
    """CLOCK_REALTIME of the begin of the second that a line of a log in UTC names by `day` and `time`."""
    second = datetime.strptime(f"{line['day']} {line['time']}", form).replace(tzinfo=UTC)
    return int(second.timestamp()) * _NS_PER_S
