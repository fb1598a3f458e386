"""The judge of processes that do what every application does, in all stages about forks."""

from __future__ import annotations

from typing import Final

from lab.probe.line import NOT_SEEN, Judgement, Line
from lab.probe.lines.answers import OK, calls
from lab.probe.seen import Call, Seen, by_the_book, death

STAGES: Final = (
    "calls-without-initialize",
    "child-initialize",
    "child-ends",
    "child-works",
    "grandchildren",
    "operation-in-both",
    "busy-forks",
    "descriptors",
)


def survives(*stages: Seen) -> Judgement:
    """Parents of all these stages did what every application does; a crash or a hang of theirs has no excuse."""
    made = [(seen, call) for seen in stages for call in by_the_book(seen)]
    if not made:
        return NOT_SEEN
    lost = list(dict.fromkeys(_lost(seen, call) for seen, call in made if call.ckr is None))
    if not lost and not any(call.name == "C_Initialize" and call.ckr == OK for _, call in made):
        return NOT_SEEN  # errors alone show little
    if not lost:
        return Judgement("conforms", f"{calls(len(made))} of parents returned.")
    more = f", and so in {len(lost) - 1} further parents" if len(lost) > 1 else ""
    return Judgement("violates", f"{lost[0]}{more}.")


def _lost(seen: Seen, call: Call) -> str:
    return death(seen, call.who) or f"{call.who} {seen.cut_off or f'did not return from {call.name}'}"


LINES: Final = (
    Line(
        "survives",
        "fork",
        "calls of a process that does all by the book",
        "Every call returns: CKR_OK or an error.",
        "PKCS #11 v2.40 base, 5.1 Function return values",
        STAGES[0],
        survives,
        also=STAGES[1:],
    ),
)
