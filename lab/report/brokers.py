"""What the terminal says where a program has the token for the workers: its own share beside theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lab.report import words
from lab.report.words import milliseconds, significant

Arm = Mapping[str, Any]
Line = tuple[str, Callable[[Arm], str]]

TITLE: Final = "Who has the token, in each trial"


def are_in(arms: Mapping[str, Arm]) -> bool:
    """Whether any of the arms has an owner of its token."""
    return any(_at(arm).get("owner") for arm in arms.values())


def _at(arm: Arm) -> Mapping[str, Any]:
    return arm.get("at_token") or {}


def _in_each(name: str) -> Callable[[Arm], str]:
    """A count over all trials, for one of them."""

    def text(arm: Arm) -> str:
        counted = _at(arm).get(name)
        return words.MISSING if counted is None or not arm["trials"] else significant(counted / arm["trials"])

    return text


def _plainly(name: str) -> Callable[[Arm], str]:
    return lambda arm: significant(_at(arm).get(name))


def _workers(arm: Arm) -> str:
    whole, owner = _at(arm).get("all_pss_mib_p50"), _at(arm).get("owner_pss_mib_p50")
    return words.MISSING if whole is None else significant(whole - (owner or 0.0))


def _key_call(where: Callable[[Arm], Any]) -> Callable[[Arm], str]:
    """The median of the calls that sign."""

    def text(arm: Arm) -> str:
        found = where(arm) or {}
        return milliseconds((found.get("C_Sign") or found.get("C_Decrypt") or {}).get("p50"))

    return text


LINES: Final[tuple[Line, ...]] = (
    ("owner of the token", lambda arm: str(_at(arm).get("owner") or "each worker") if _at(arm) else words.MISSING),
    ("processes with the module", _in_each("processes")),
    ("C_Initialize that it saw", _in_each("contexts")),
    ("C_Login that it granted", _in_each("logins")),
    ("most sessions at once", _plainly("sessions_peak")),
    ("memory of the workers, MiB", _workers),
    ("memory of the owner, MiB", _plainly("owner_pss_mib_p50")),
    ("memory in all, MiB", _plainly("all_pss_mib_p50")),
    ("signing at the worker, p50 ms", _key_call(lambda arm: arm["pkcs11_ms"])),
    ("signing at the owner, p50 ms", _key_call(lambda arm: _at(arm).get("owner_ms"))),
)
