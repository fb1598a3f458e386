"""Signals that the lab gets while it follows a program, and for whom they are.

Ctrl-C reaches the program from the terminal, since it is in the foreground with the lab. What is sent to the lab alone
is passed on. Who insists gets the whole tree ended.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Final

_HEARD: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)


class Requests:
    """Context manager. fileno() is readable when one has come; take() gives those that have."""

    def __enter__(self) -> Requests:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        # What the lab's starter ignores (nohup) the program is to ignore too, and so does the lab.
        self.ignored = frozenset(number for number in _HEARD if signal.getsignal(number) is signal.SIG_IGN)
        self._before = {number: signal.signal(number, self._note) for number in _HEARD if number not in self.ignored}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        return self._read

    def take(self) -> list[int]:
        """Numbers of the signals that have come since."""
        try:
            return list(os.read(self._read, 1024))
        except BlockingIOError:
            return []

    @property
    def defaults(self) -> tuple[int, ...]:
        """Signals that a program must find with their default action, whatever the lab and its keeper do with them.

        Python itself ignores SIGPIPE and SIGXFSZ.
        """
        return (*(number for number in _HEARD if number not in self.ignored), signal.SIGPIPE, signal.SIGXFSZ)

    def _note(self, number: int, frame: FrameType | None) -> None:
        try:
            os.write(self._write, bytes([number]))
        except BlockingIOError:
            pass  # more than a pipe holds: nobody counts any more


def came_from_terminal(number: int) -> bool:
    """Whether the program has had this signal already: a key of the terminal sends it to the whole foreground."""
    if number not in _FROM_TERMINAL:
        return False
    for stream in (sys.__stdin__, sys.__stderr__):
        try:
            if stream is not None and os.tcgetpgrp(stream.fileno()) == os.getpgrp():
                return True
        except (OSError, ValueError):
            continue  # no terminal, or closed
    return False
