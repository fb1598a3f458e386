"""Random numbers and signatures of many children of one parent that has drawn and signed before it forked.

The children are born one after the other, and the parent draws nothing in between: what it handed on is the same for
all. A stage of slow calls ends after some time with fewer children than were asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from lab.probe.stage.bench import Bench

BYTES: Final = 16
"""Of one random output: equal ones are no coincidence."""
_MOST_S: Final = 5.0
_CKR_ALREADY_INITIALIZED: Final = 0x191


def say_family(bench: Bench) -> None:
    """Whether the key signs with nonces."""
    bench.fact("family", (bench.order.key or "none").split("-")[0])


def draw(bench: Bench, who: str | None = None, session: int | None = None) -> None:
    """C_GenerateRandom."""
    value = bench.call("C_GenerateRandom", partial(bench.module.random, session or bench.session, BYTES), who)
    if value is not None:
        bench.output(value, who=who)


def draws_without_initialize(bench: Bench) -> None:
    """Each child draws and signs in the session and with the key that its parent left it."""
    _over_children(bench, partial(_draw_and_sign, bench))


def draws_after_initialize(bench: Bench) -> None:
    """Each child first makes a context of its own, as the standard asks."""

    def does() -> None:
        if _initialized(bench) and bench.find_token() and bench.log_in():
            _draw_and_sign(bench)

    _over_children(bench, does)


def _over_children(bench: Bench, does: Callable[[], None]) -> None:
    bench.fact("children", bench.order.children)
    say_family(bench)
    if not bench.make_ready():
        return
    _draw_and_sign(bench)  # a generator that is seeded when it is first used has its seed now
    until_s = time.monotonic() + _MOST_S
    for number in range(1, bench.order.children + 1):
        if time.monotonic() > until_s:
            break
        bench.in_child(f"child {number}", does)
    _draw_and_sign(bench)


def _draw_and_sign(bench: Bench) -> None:
    draw(bench)
    if bench.key:
        bench.sign()


def _initialized(bench: Bench) -> bool:
    """By C_Initialize, or where the child is told that it has been, by C_Finalize and C_Initialize."""
    ckr = bench.answer("C_Initialize", bench.initialize)
    if ckr == _CKR_ALREADY_INITIALIZED:
        bench.answer("C_Finalize", bench.module.finalize)
        ckr = bench.answer("C_Initialize", bench.initialize)
    return not ckr


STAGES: Final = {
    "draws-without-initialize": draws_without_initialize,
    "draws-after-initialize": draws_after_initialize,
}
