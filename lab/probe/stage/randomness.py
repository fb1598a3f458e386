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
_CKR_OK, _CKR_ALREADY_INITIALIZED = 0x0, 0x191


def say_family(bench: Bench) -> None:
    """Whether the key signs with nonces."""
    bench.fact("family", (bench.order.key or "none").split("-")[0])


def draw(bench: Bench) -> bool:
    """C_GenerateRandom in the bench's session; whether that was answered."""
    value = bench.call("C_GenerateRandom", partial(bench.module.random, bench.session, BYTES))
    if value is not None:
        bench.output(value)
    return value is not None


def draws_without_initialize(bench: Bench) -> None:
    """Each child draws and signs in the session and with the key that its parent left it."""
    _over_children(bench, partial(_draw_and_sign, bench))


def draws_after_initialize(bench: Bench) -> None:
    """Each child calls C_Initialize, as the standard asks, and takes for well that it has been called.

    libp11 does so. A context of its own the child has only where the answer was CKR_OK.
    """

    def does() -> None:
        if bench.answer("C_Initialize", bench.initialize) in (_CKR_OK, _CKR_ALREADY_INITIALIZED):
            _enter_and_draw(bench)

    _over_children(bench, does)


def draws_after_finalize(bench: Bench) -> None:
    """Each child ends the context that it inherited, and makes one of its own."""

    def does() -> None:
        bench.answer("C_Finalize", bench.module.finalize)
        if bench.answer("C_Initialize", bench.initialize) == _CKR_OK:
            _enter_and_draw(bench)

    _over_children(bench, does)


def _over_children(bench: Bench, does: Callable[[], None]) -> None:
    bench.fact("children", bench.order.children)
    say_family(bench)
    if not bench.make_ready():
        return
    _draw_and_sign(bench)  # a generator that is seeded when it is first used has its seed now
    until_s = time.monotonic() + _MOST_S
    for number in range(1, bench.order.children + 1):
        if time.monotonic() > until_s or bench.must_not_log_in:
            break
        bench.in_child(f"child {number}", does)
    _draw_and_sign(bench)


def _draw_and_sign(bench: Bench) -> None:
    draw(bench)
    if bench.key:
        bench.sign()


def _enter_and_draw(bench: Bench) -> None:
    if bench.find_token() and bench.log_in():
        _draw_and_sign(bench)


STAGES: Final = {
    "draws-without-initialize": draws_without_initialize,
    "draws-after-initialize": draws_after_initialize,
    "draws-after-finalize": draws_after_finalize,
}
