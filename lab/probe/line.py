"""A line of the probe's table: what the standard says, which stage looks, and how what was seen is judged. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from lab.probe.seen import Seen, trouble

Verdict = Literal["conforms", "violates", "undefined", "not-exercised"]
Group = Literal["fork", "threads", "sessions", "randomness", "claims"]


@dataclass(frozen=True)
class Judgement:
    """verdict, and in one or two plain sentences what was seen: calls, CKR names, processes."""

    verdict: Verdict
    seen: str


@dataclass(frozen=True)
class Line:
    """One line. A judge that raises gives `not-exercised` with the reason, never a verdict that conforms."""

    name: str  # as in --only: child-without-initialize
    group: Group
    title: str
    says: str  # what the standard says, in short
    source: str  # where: PKCS #11 v2.40 base, 5.4
    stage: str  # the stage that looks
    judge: Callable[..., Judgement]  # of what the stage saw (Seen), and after it of each in `also`, in their order
    needs_key: bool = False  # signs, so it is not exercised where the token has no key for it
    also: tuple[str, ...] = ()  # further stages that the judge needs


NOT_SEEN: Final = Judgement("not-exercised", "Nothing was seen: the stage ended before it came to this.")


def judged(line: Line, *seen: Seen) -> Judgement:
    """The line's judgement of what its stages saw, whatever becomes of its judge."""
    try:
        return line.judge(*seen)
    except Exception as problem:  # what a judge trips over must not look like conformance
        return Judgement("not-exercised", f"The judge failed with {type(problem).__name__}: {problem}")


def explained(judgement: Judgement, *seen: Seen) -> Judgement:
    """With the reason where nothing was seen: what the module did to a process that did all by the book."""
    if judgement != NOT_SEEN:
        return judgement
    reasons = [reason for one in seen if (reason := trouble(one))]
    return Judgement("not-exercised", f"Not reached: {reasons[0]}.") if reasons else judgement
