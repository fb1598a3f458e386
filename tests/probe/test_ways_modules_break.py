"""A module that crashes, ends its process or hangs, in a parent or in its child: the probe goes on and says so."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lab.probe.line import Verdict
from tests.probe.conftest import Examine

INITIALIZE, WITHOUT, ENDS, SURVIVES = (
    "child-initialize",
    "child-without-initialize",
    "parent-after-child-exit",
    "survives",
)


@dataclass(frozen=True)
class Break:
    """What is done, by whom, and what a line says of it."""

    mischief: str
    who: str
    line: str
    verdict: Verdict
    words: str


BREAKS = {
    "a parent's SIGSEGV": Break("sigsegv@C_Login#1", "root", INITIALIZE, "not-exercised", "with SIGSEGV in C_Login"),
    "a parent's SIGKILL": Break("sigkill@C_Login#1", "root", INITIALIZE, "not-exercised", "with SIGKILL in C_Login"),
    "a parent's exit": Break("exit0@C_Login#1", "root", INITIALIZE, "not-exercised", "with status 0 in C_Login"),
    "a parent's hang": Break("hang@C_Login#1", "root", INITIALIZE, "not-exercised", "hung in C_Login"),
    "a parent that leaves a process": Break(
        "fork-and-die@C_Login#1", "root", INITIALIZE, "not-exercised", "with status 3 in C_Login"
    ),
    "a crash in the first call": Break(
        "sigsegv@C_Initialize#1", "any", INITIALIZE, "not-exercised", "with SIGSEGV in C_Initialize"
    ),
    "a child's SIGSEGV": Break("sigsegv@C_Initialize#1", "child", INITIALIZE, "violates", "of SIGSEGV in C_Initialize"),
    "a child's SIGKILL": Break("sigkill@C_Initialize#1", "child", INITIALIZE, "violates", "of SIGKILL in C_Initialize"),
    "a child's exit": Break("exit0@C_Initialize#1", "child", INITIALIZE, "violates", "never returned"),
    "a child's hang": Break("hang@C_Initialize#1", "child", INITIALIZE, "violates", "hung in C_Initialize"),
    "a child's error": Break("error@C_Initialize#1", "child", INITIALIZE, "violates", "CKR_DEVICE_ERROR"),
    "a hang without C_Initialize": Break("hang@C_Finalize#1", "child", WITHOUT, "undefined", "C_Finalize: hung"),
    "a crash without C_Initialize": Break("sigsegv@C_Sign#1", "child", WITHOUT, "undefined", "C_Sign: died of SIGSEGV"),
    "a parent's crash by the book": Break("sigsegv@C_OpenSession#1", "root", SURVIVES, "violates", "died of SIGSEGV"),
    "a parent's error afterwards": Break("error@C_SignInit#1", "root", ENDS, "violates", "answered CKR_DEVICE_ERROR"),
    "a parent's crash afterwards": Break("sigsegv@C_Sign#1", "root", ENDS, "violates", "died of SIGSEGV in C_Sign"),
    "a parent's wrong signature": Break("wrong-signature@C_Sign#1+", "root", ENDS, "violates", "signature is wrong"),
}


@pytest.mark.parametrize("case", BREAKS.values(), ids=BREAKS)
def test_a_module_that_breaks_does_not_end_the_probe(case: Break, mischief: Examine) -> None:
    table, seen = mischief(case.mischief, case.who, {case.line})

    assert (table[case.line].verdict, case.words in table[case.line].seen) == (case.verdict, True), table[
        case.line
    ].seen
    if case.mischief.startswith("hang"):
        stacks = [end.stack for one in seen.values() for end in one.ends] + [one.stack for one in seen.values()]
        assert any("mischief_hang" in stack for stack in stacks)
