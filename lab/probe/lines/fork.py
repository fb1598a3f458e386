"""Judges of what a forked child finds, and of what it does to its parent."""

from __future__ import annotations

from typing import Final

from lab.probe.line import NOT_SEEN, Judgement, Line
from lab.probe.seen import Seen
from lab.record.names import ckr_name

_NOT_INITIALIZED: Final = 0x190


def calls_without_initialize(seen: Seen) -> Judgement:
    """The answer that the standard calls ideal conforms; it leaves any other open."""
    made = [call for call in seen.calls if call.who.startswith("child for ")]
    if not made:
        return NOT_SEEN
    answers = {call.name: "no answer" if call.ckr is None else ckr_name(call.ckr) for call in made}
    if set(answers.values()) == {ckr_name(_NOT_INITIALIZED)}:
        return Judgement("conforms", f"Each of {len(answers)} calls answered CKR_CRYPTOKI_NOT_INITIALIZED.")
    return Judgement("undefined", "; ".join(f"{name}: {answer}" for name, answer in answers.items()))


LINES: Final = (
    Line(
        "child-without-initialize",
        "fork",
        "a child calls without C_Initialize",
        "Behaviour is undefined; ideally CKR_CRYPTOKI_NOT_INITIALIZED.",
        "PKCS #11 v2.40 usage guide, Applications and processes",
        "calls-without-initialize",
        calls_without_initialize,
    ),
)
