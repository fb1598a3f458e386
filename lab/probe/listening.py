"""The coordinator's ear at one stage: all that it says, until it has ended, gone quiet, or the time is over."""

from __future__ import annotations

import json
import os
import select
import time
from dataclasses import dataclass, field
from typing import Final, Literal

from lab.topology.line import KeeperLine

_MOST_AT_ONCE: Final = 1 << 16
_COMPLETE: Final = b'{"fact":"complete","value":true}\n'

Why = Literal["complete", "ended", "quiet", "late", "interrupted"]


@dataclass
class Listening:
    """What is said on a pipe by the processes of a stage, whose first one has this pid."""

    events: int
    keeper: KeeperLine
    pid: int
    interrupt: int  # readable when the user wants the end
    said: bytearray = field(default_factory=bytearray)

    def until(self, late_s: float, quiet_s: float) -> Why:
        """Listens, and says why it stopped. Both ends of the stage are heard: of its pipe, and of its first process.

        For a module may have left a process that holds the pipe. late_s: instant of time.monotonic(). quiet_s: after
        so long without a word a stage whose first process is in the midst of a call hangs in it.
        """
        heard_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s >= late_s:
                return "late"
            if now_s - heard_s >= quiet_s and self._within_a_call():
                return "quiet"
            waiting = [self.events, self.keeper.fileno(), self.interrupt]
            ready = select.select(waiting, [], [], min(late_s - now_s, quiet_s))[0]
            if self.interrupt in ready:
                return "interrupted"
            if self.events in ready:
                heard_s = time.monotonic()
                if not self._read():
                    return "ended"
                if self.said.endswith(_COMPLETE):
                    return "complete"
            elif self.keeper.fileno() in ready and self.keeper.ended(self.pid) is not None:
                while select.select([self.events], [], [], 0)[0] and self._read():
                    pass  # what it said before its end
                return "complete" if self.said.endswith(_COMPLETE) else "ended"

    @property
    def lines(self) -> list[bytes]:
        return bytes(self.said).splitlines(keepends=True)

    def _read(self) -> bool:
        piece = os.read(self.events, _MOST_AT_ONCE)
        self.said += piece
        return bool(piece)

    def _within_a_call(self) -> bool:
        """Whether a call of the first process has not been answered."""
        begun: set[int] = set()
        for line in self.lines:
            try:
                event = json.loads(line)
                if event.get("pid") == self.pid:
                    begun |= {event["begun"]} if "begun" in event else set()
                    begun -= {event["answered"]} if "answered" in event else set()
            except (ValueError, AttributeError):
                continue  # a module's, not ours
        return bool(begun)
