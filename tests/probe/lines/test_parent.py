"""The judges of what a child does to its parent: whose fault it is."""

from __future__ import annotations

from lab.probe.line import NOT_SEEN, Judgement, Line, judged
from lab.probe.lines import LINES
from lab.probe.seen import End
from tests.probe.lines.forks_made_up import (
    DEVICE_ERROR,
    looked_after,
    seen,
)

BY_NAME: dict[str, Line] = {line.name: line for line in LINES}


def test_harm_after_an_undefined_use_is_undefined() -> None:
    judge, used = BY_NAME["parent-after-uses"], ("parent (sign)", "C_Login", 0)

    harmed = judged(judge, seen(used, *looked_after("sign", DEVICE_ERROR)), seen())
    unharmed = judged(judge, seen(used, *looked_after("sign")), seen())
    killed = judged(judge, seen(), seen(*looked_after("SIGKILL with old handles", DEVICE_ERROR)))

    assert [one.verdict for one in (harmed, unharmed, killed)] == ["undefined", "conforms", "undefined"]
    assert "parent after (sign): C_SignInit answered CKR_DEVICE_ERROR" in harmed.seen


def test_a_crash_of_a_parent_has_no_excuse() -> None:
    judge, others = BY_NAME["survives"], [seen()] * (len(BY_NAME["survives"].also) - 1)
    crashed = seen(("parent (exit)", "C_Login", None), ends=(End("parent (exit)", 1, "signal", 11),))

    ready = ("parent", "C_Initialize", 0)

    assert judged(judge, seen(ready, ("parent", "C_Login", 0x30)), seen(), *others).verdict == "conforms"
    assert judged(judge, seen(("parent", "C_Initialize", 0x30)), seen(), *others) == NOT_SEEN
    assert judged(judge, seen(), crashed, *others) == Judgement("violates", "parent (exit) died of SIGSEGV in C_Login.")
    assert judged(judge, seen(), seen(), *others) == NOT_SEEN


def test_a_parent_harmed_by_its_child_does_not_count_as_one_by_the_book() -> None:
    others = [seen()] * len(BY_NAME["survives"].also)
    harmed = seen(("parent", "C_Initialize", 0), ("parent after", "C_Sign", None))

    assert judged(BY_NAME["survives"], harmed, *others).verdict == "conforms"
