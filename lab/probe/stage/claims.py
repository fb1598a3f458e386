"""What the module says of itself and of its token, and the calls that show whether it is so."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from lab.native.cryptoki import AttributeValue
from lab.probe.stage.bench import Bench
from lab.probe.stage.interfaces import GET_INTERFACE_LIST, Interface, function_list_version, interfaces
from lab.probe.stage.module import CKA_CLASS, CKA_LABEL, CKA_PRIVATE, CKO_PRIVATE_KEY
from lab.probe.stage.randomness import draw


def claims(bench: Bench) -> None:
    """In a process of its own. Claims come first, so that a crash later on leaves them."""
    bench.fork("process", partial(_claims, bench)).wait(time.monotonic() + 2 * bench.order.patience_s)


def _claims(bench: Bench) -> None:
    module, order = bench.module, bench.order
    bench.fact("function list", function_list_version(module.function_list))
    bench.call(GET_INTERFACE_LIST, partial(interfaces, Path(order.module)), describe=_told)
    if bench.answer("C_Initialize", bench.initialize):
        return
    bench.call("C_GetInfo", module.module_info, describe=asdict)
    if not bench.find_token():
        return
    bench.call("C_GetTokenInfo", partial(module.token_info, bench.slot), describe=lambda info: {"flags": info.flags})
    if order.mechanism:
        describe = partial(module.mechanism_info, bench.slot, order.mechanism)
        bench.call("C_GetMechanismInfo", describe, describe=asdict, mechanism=order.mechanism, key=order.key)
    session = bench.call("C_OpenSession", partial(module.open_session, bench.slot))
    if session is None:
        return
    bench.session = session
    draw(bench)
    if order.key_label:
        wanted: dict[int, AttributeValue] = {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: order.key_label}
        bench.call(
            "C_FindObjects", partial(module.find_objects, session, wanted, 1), describe=_number_of, when="before login"
        )
    if bench.answer("C_Login", partial(module.login, session, order.pin)) or not bench.find_key():
        return
    draw(bench)
    if bench.key:
        bench.call(
            "C_GetAttributeValue",
            partial(module.attribute, session, bench.key, CKA_PRIVATE),
            describe=lambda value: {"private": any(value)},
        )
        bench.sign()


def _told(found: list[Interface] | None) -> dict[str, Any]:
    return {"interfaces": None if found is None else [asdict(each) for each in found]}


def _number_of(found: list[int]) -> dict[str, int]:
    return {"found": len(found)}


STAGES: Final = {"claims": claims}
