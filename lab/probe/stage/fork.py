"""What a forked child finds, and what it does to its parent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from lab.probe.stage.bench import Bench


def calls_without_initialize(bench: Bench) -> None:
    """Each class of call in a child of its own that has not called C_Initialize, on what its parent left it."""
    bench.make_ready()
    module, session = bench.module, bench.session
    classes: Mapping[str, Callable[[], object]] = {
        "C_GetInfo": module.library_info,
        "C_GetSlotList": module.slots,
        "C_OpenSession": partial(module.open_session, bench.slot),
        "C_FindObjectsInit": partial(module.find_objects, session, {}, 1),
        "C_CloseSession": partial(module.close_session, session),
        "C_Finalize": module.finalize,
    }
    for name, made in classes.items():
        bench.in_child(f"child for {name}", partial(bench.call, name, made))


STAGES: Final = {"calls-without-initialize": calls_without_initialize}
