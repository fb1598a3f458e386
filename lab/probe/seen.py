"""What a stage saw: calls with their answers, ends of processes, and facts. It travels as JSON lines over a pipe.

A call is announced before it is made and answered after it, so that one which crashes or hangs is seen too. Signatures
and random outputs travel apart: they are compared in memory and are in no report, for two signatures with one nonce are
the key.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from lab.record.names import ckr_name

How = Literal["exit", "signal", "hang"]
PIN_REFUSED: Final = frozenset({0xA0, 0xA1, 0xA2, 0xA3, 0xA4})
"""CKR_PIN_INCORRECT, _INVALID, _LEN_RANGE, _EXPIRED, _LOCKED: a token may count such tries, and lock."""


@dataclass(frozen=True)
class Call:
    """One call: who made it (`parent`, `child`, `child 7`, `grandchild`, `thread 2`), and its answer."""

    who: str
    pid: int
    name: str  # C_Sign
    ckr: int | None  # None: it never returned
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """How a process of a stage ended. status: of an exit; the number of a signal; 0 for a hang, which was ended."""

    who: str
    pid: int
    how: How
    status: int = 0
    stack: str = ""  # of a hang: all its threads, as eu-stack prints them

    @property
    def orderly(self) -> bool:
        return self.how == "exit" and not self.status

    @property
    def words(self) -> str:
        """How it ended, as in a sentence after its name."""
        if self.how == "hang":
            return "hung"
        return f"died of {signal.Signals(self.status).name}" if self.how == "signal" else f"exited with {self.status}"


@dataclass(frozen=True)
class Output:
    """What the token gave: a signature over `data` (a digest), or random bytes (`data` is empty)."""

    who: str
    value: bytes = field(repr=False)
    data: bytes = field(default=b"", repr=False)
    right: bool | None = None  # of a signature: whether it is the key's; None: random bytes, or not looked at


@dataclass(frozen=True)
class Seen:
    """All that one stage saw, in the order in which it was said."""

    calls: tuple[Call, ...] = ()
    ends: tuple[End, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    public_pem: str = ""  # of the key that signs; "": there is none
    cut_off: str = ""  # why: "crashed with SIGSEGV in C_Finalize", "hung in C_Login"; "" where it came to its end
    stack: str = ""  # of a stage that hung

    def of(self, who: str, name: str | None = None) -> list[Call]:
        """Calls of one process (or thread), of one function where it is named."""
        return [call for call in self.calls if call.who == who and name in (None, call.name)]

    def answer(self, who: str, name: str) -> int | None:
        """CKR of that process's first call of the function; None where it was not made or did not return."""
        return next((call.ckr for call in self.of(who, name)), None)

    def end(self, who: str) -> End | None:
        return next((end for end in self.ends if end.who == who), None)

    @property
    def without_outputs(self) -> Seen:
        return replace(self, outputs=())

    def to_json(self) -> dict[str, Any]:
        """Without the outputs; each call's answer also by its name, null where it did not return."""
        calls = [{**asdict(call), "answer": None if call.ckr is None else ckr_name(call.ckr)} for call in self.calls]
        data = {"calls": calls, "ends": [asdict(end) for end in self.ends], "facts": dict(self.facts)}
        return {**data, "cut_off": self.cut_off, "stack": self.stack}


def seen_from(data: Mapping[str, Any]) -> Seen:
    """Reads Seen.to_json's result back. Raises KeyError or TypeError where it is none."""
    calls = [Call(**{name: value for name, value in call.items() if name != "answer"}) for call in data["calls"]]
    ends = [End(**end) for end in data["ends"]]
    return Seen(tuple(calls), tuple(ends), data["facts"], cut_off=data["cut_off"], stack=data["stack"])


def say(**event: Any) -> bytes:
    """One event as a line. Shorter than PIPE_BUF, or the lines of several processes would mix."""
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def gather(lines: Iterable[bytes]) -> Seen:
    """What the events of one stage amount to. What is no event (a cut line, a module's own) is left out."""
    begun: dict[tuple[int, int], Call] = {}
    answered: dict[tuple[int, int], Call] = {}
    ends: list[End] = []
    facts: dict[str, Any] = {}
    outputs: list[Output] = []

    def note(event: Mapping[str, Any]) -> None:
        if "begun" in event:
            key = (event["pid"], event["begun"])
            begun[key] = Call(event["who"], event["pid"], event["call"], None, event.get("facts", {}))
        elif "answered" in event:
            key = (event["pid"], event["answered"])
            call = begun[key]
            answered[key] = Call(call.who, call.pid, call.name, event["ckr"], {**call.facts, **event.get("facts", {})})
        elif "end" in event:
            ends.append(End(event["end"], event["pid"], event["how"], event["status"], event.get("stack", "")))
        elif "fact" in event:
            facts[event["fact"]] = event["value"]
        elif "output" in event:
            data = bytes.fromhex(event.get("data", ""))
            outputs.append(Output(event["who"], bytes.fromhex(event["output"]), data))

    for event in _events(lines):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            note(event)
    calls = tuple(answered.get(key, call) for key, call in begun.items())
    return Seen(calls, tuple(ends), facts, tuple(outputs))


def by_the_book(seen: Seen) -> list[Call]:
    """Calls of parents, before any child of theirs: nothing that others do can excuse how these end."""
    return [call for call in seen.calls if call.who == "parent" or call.who.startswith("parent (")]


def death(seen: Seen, who: str) -> str:
    """How a process ended that did not end orderly, and in which call; "" for one that did, or is not known."""
    end = seen.end(who)
    if end is None or end.orderly:
        return ""
    within = next((call.name for call in reversed(seen.calls) if call.pid == end.pid and call.ckr is None), None)
    return f"{who} {end.words}" + (f" in {within}" if within else "")


def trouble(seen: Seen) -> str:
    """Why a stage did not come to something: a parent's crash, hang or refused call, or a child's crash or hang.

    "" where there was none.
    """
    if seen.cut_off:
        return f"the process {seen.cut_off}"
    for call in by_the_book(seen):
        if call.ckr is None:
            return death(seen, call.who) or f"{call.name} of the {call.who} never returned"
        if call.ckr:
            inner = call.facts.get("in")
            where = f"{call.name} ({inner})" if inner else call.name
            return f"{where} of the {call.who} answered {ckr_name(call.ckr)}"
    lost = (death(seen, end.who) for end in seen.ends if "SIG" not in end.who)  # those are killed on purpose
    return next(filter(None, lost), str(seen.facts.get("refused", "")))


def refused_pin(seen: Seen) -> str:
    """How a C_Login took the right PIN for a wrong one, and whose: "" where none did."""
    return next(
        (
            f"C_Login answered {ckr_name(call.ckr or 0)} ({call.who})"
            for call in seen.calls
            if call.name == "C_Login" and call.ckr in PIN_REFUSED
        ),
        "",
    )


def hangs_by_itself(seen: Seen) -> bool:
    """Whether a parent hung in a call of its own."""
    hung = {end.who for end in seen.ends if end.how == "hang"}
    return seen.cut_off.startswith("hung") or any(call.ckr is None and call.who in hung for call in by_the_book(seen))


def _events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
