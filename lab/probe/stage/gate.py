"""A gate at which processes of a stage wait, so that they all go on at one instant."""

from __future__ import annotations

import os
import select
import time


class Gate:
    """Made before the forks. Each process arrives once; their parent lets them go."""

    def __init__(self) -> None:
        self._arrived, self._arrive = os.pipe()
        self._go, self._let_go = os.pipe()

    def pass_through(self) -> None:
        """In a child: says that it is there, and waits."""
        os.write(self._arrive, b".")
        os.close(self._arrive)  # so that the parent need not wait for those who died on their way
        os.read(self._go, 1)

    def open(self, count: int, until_s: float) -> int:
        """In the parent: waits until all `count` are there, or have died; lets them go. How many there were.

        until_s: instant of time.monotonic() after which the others are not waited for.
        """
        os.close(self._arrive)
        there = 0
        while there < count and select.select([self._arrived], [], [], max(0.0, until_s - time.monotonic()))[0]:
            arrived = os.read(self._arrived, count)
            if not arrived:
                break
            there += len(arrived)
        os.write(self._let_go, b"." * count)  # for those who come late, too
        return there
