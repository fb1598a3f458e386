"""Ctrl-C and SIGTERM as a wish that the run looks at, instead of an exception in the middle of whatever runs."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal went away


class Interrupt:
    """Context manager. The first signal sets `wanted` and makes fileno() readable; a second one ends at once."""

    def __enter__(self) -> Interrupt:
        self.wanted = False
        self._read, self._write = os.pipe()
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
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

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.wanted:
            os.write(self._write, b"!")
        self.wanted = True
        for handled in self._before:
            signal.signal(handled, signal.SIG_DFL)  # the keeper cleans up after that, too
