"""What a stage might have seen, for judges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.probe.line import Judgement
from lab.probe.lines import LINES
from lab.probe.seen import Call, End, Output, Seen

OK = 0


def judge(name: str, *seen: Seen) -> Judgement:
    """The line's judge itself: what it trips over is a failure of the test."""
    (line,) = [line for line in LINES if line.name == name]
    return line.judge(*seen)


def call(who: str, name: str, ckr: int | None = OK, pid: int = 1, **facts: Any) -> Call:
    return Call(who, pid, name, ckr, facts)


def calls(kind: str, name: str, answers: Iterable[int | None], **facts: Any) -> list[Call]:
    """One of each process or thread: `thread 1`, with pid 1, ..."""
    return [call(f"{kind} {n}", name, ckr, n, **facts) for n, ckr in enumerate(answers, start=1)]


def died(who: str, number: int = 11, pid: int = 1) -> End:
    return End(who, pid, "signal", number)


def hung(who: str, pid: int = 1) -> End:
    return End(who, pid, "hang", stack="#0 pthread_mutex_lock")


def random(who: str, value: bytes) -> Output:
    return Output(who, value * 16)


def signature(who: str, r: bytes, data: bytes, right: bool = True) -> Output:
    return Output(who, r * 32 + data * 32, data * 32, right)
