"""The coordinator's side of the probe: each stage in a tree of its own, on a fresh token, with a deadline."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lab import program
from lab.probe.line import Judgement, Line, judged
from lab.probe.order import StageOrder
from lab.probe.seen import Seen, gather
from lab.process.stacks import save_stack
from lab.tokens.model import Token
from lab.topology.line import KeeperLine

PATIENCE_S: Final = 3.0
"""Of a stage with one process or call."""
STAGE_S: Final = 12.0
"""After which a stage itself hangs: it may wait for several that do."""
_MOST_EVENTS: Final = 1 << 16


@dataclass(frozen=True)
class Subject:
    """The token that is examined, ready, and what its stages need to know."""

    token: Token
    key: str | None  # kind of the key that signs
    mechanism: int
    most_sessions: int
    children: int


@dataclass(frozen=True)
class Examined:
    """One line with its judgement, and what its stage saw."""

    line: Line
    judgement: Judgement
    seen: Seen


def examine(
    subject: Subject,
    lines: Iterable[Line],
    keeper: KeeperLine,
    private: Path,
    until_s: float,
    progress: Callable[[Line], None],
) -> list[Examined]:
    """All lines, in their order. A stage that several lines share is done once. Raises LabFault.

    until_s: instant of time.monotonic(); lines that it leaves no time for are not exercised, and say so.
    """
    seen: dict[str, Seen] = {}
    found = []
    for line in lines:
        progress(line)
        if line.needs_key and subject.key is None:
            nothing = Judgement("not-exercised", "There is no key to sign with.")
            found.append(Examined(line, nothing, Seen()))
            continue
        if line.stage not in seen:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                found.append(Examined(line, Judgement("not-exercised", "No time was left for it."), Seen()))
                continue
            seen[line.stage] = _stage(subject, line.stage, keeper, private / line.stage, min(STAGE_S, left_s))
        found.append(Examined(line, judged(line, seen[line.stage]), seen[line.stage]))
    return found


def _stage(subject: Subject, stage: str, keeper: KeeperLine, folder: Path, patience_s: float) -> Seen:
    folder.mkdir(mode=0o700)
    try:
        access = subject.token.restore(folder / "token", subject.key)
        order = StageOrder(
            stage=stage,
            folder=str(folder),
            module=str(access.module),
            token_label=access.token_label,
            key_label=access.key_label,
            key=subject.key,
            mechanism=subject.mechanism,
            pin=access.pin.reveal(),
            init_string=access.init_string,
            patience_s=PATIENCE_S,
            most_sessions=subject.most_sessions,
            children=subject.children,
            beside=access.beside,
            mounts=access.mounts,
        )
        return _play(order, access.environment, keeper, folder, patience_s)
    finally:
        keeper.end_all()
        shutil.rmtree(folder, ignore_errors=True)


def _play(
    order: StageOrder, environment: Mapping[str, str], keeper: KeeperLine, folder: Path, patience_s: float
) -> Seen:
    given, to_give = os.pipe()
    events, to_say = os.pipe()
    errors = os.open(folder / "stderr.log", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        command = program.command("lab.probe.stage")
        pid = keeper.spawn(command, {**keeper.environment, **environment}, [given, errors, to_say])
        for end in (given, errors, to_say):
            os.close(end)
        with os.fdopen(to_give, "wb") as pipe:
            pipe.write(order.to_json().encode())
        said = _listen(events, time.monotonic() + patience_s)
        return _whole(gather(said), keeper, pid, folder)
    finally:
        os.close(events)


def _listen(events: int, until_s: float) -> list[bytes]:
    """All that is said until the last process of the stage has closed its end, or the time is over."""
    said = b""
    while (left_s := until_s - time.monotonic()) > 0:
        if not select.select([events], [], [], left_s)[0]:
            break
        piece = os.read(events, _MOST_EVENTS)
        if not piece:
            break
        said += piece
        if said.endswith(b'{"fact":"complete","value":true}\n'):
            break
    return said.splitlines(keepends=True)


def _whole(seen: Seen, keeper: KeeperLine, pid: int, folder: Path) -> Seen:
    """With the reason where the stage did not come to its end."""
    if seen.facts.get("complete"):
        return seen
    last = next((call.name for call in reversed(seen.calls) if call.who == "parent" and call.ckr is None), "")
    where = f" in {last}" if last else ""
    status = keeper.ended(pid)
    if status is None:
        file = folder / "stack.txt"
        save_stack(pid, file)
        return replace(seen, cut_off=f"hung{where}", stack=file.read_text(errors="replace"))
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return replace(seen, cut_off=f"crashed with {signal.Signals(-code).name}{where}")
    return replace(seen, cut_off=f"ended with status {code}{where}")
