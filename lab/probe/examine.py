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
from lab.probe.examination import Examined
from lab.probe.line import Judgement, Line, judged
from lab.probe.order import StageOrder
from lab.probe.seen import Seen, gather
from lab.process.stacks import save_stack
from lab.record.mechanisms import Mechanism
from lab.record.verify import is_right
from lab.tokens.model import Token
from lab.topology.line import KeeperLine

PATIENCE_S: Final = 3.0
"""Of a stage with one process or call."""
STAGE_S: Final = 12.0
"""After which a stage itself hangs: it may wait for several that do."""
_MOST_EVENTS: Final = 1 << 16


@dataclass(frozen=True)
class Bed:
    """The token that is examined, ready, and what its stages need to know."""

    token: Token
    key: str | None  # kind of the key that signs
    mechanism: Mechanism | None  # that it signs a digest with: ECDSA, RSA_PKCS
    public_pem: str  # of the key
    most_sessions: int
    children: int = 50
    may_create: bool = True  # session objects
    patience_s: float = PATIENCE_S


NO_KEY: Final = Judgement("not-exercised", "There is no key to sign with.")
NO_TIME: Final = Judgement("not-exercised", "No time was left for it.")


def examine(
    bed: Bed,
    lines: Iterable[Line],
    keeper: KeeperLine,
    private: Path,
    until_s: float,
    progress: Callable[[Line], None],
) -> tuple[list[Examined], dict[str, Seen]]:
    """All lines, in their order, and what each stage saw. A stage that several lines share is done once.

    until_s: instant of time.monotonic(); lines that it leaves no time for are not exercised, and say so.
    Raises LabFault.
    """
    seen: dict[str, Seen] = {}
    found = []
    for line in lines:
        progress(line)
        if line.needs_key and bed.key is None:
            found.append(Examined.of(line, NO_KEY))
            continue
        for stage in (line.stage, *line.also):
            left_s = until_s - time.monotonic()
            if stage not in seen and left_s > 0:
                seen[stage] = _stage(bed, stage, keeper, private / stage, min(STAGE_S, left_s))
        if all(stage in seen for stage in (line.stage, *line.also)):
            found.append(Examined.of(line, judged(line, *(seen[stage] for stage in (line.stage, *line.also)))))
        else:
            found.append(Examined.of(line, NO_TIME))
    return found, seen


def _stage(bed: Bed, stage: str, keeper: KeeperLine, folder: Path, patience_s: float) -> Seen:
    folder.mkdir(mode=0o700)
    try:
        access = bed.token.restore(folder / "token", bed.key)
        order = StageOrder(
            stage=stage,
            folder=str(folder),
            module=str(access.module),
            token_label=access.token_label,
            key_label=access.key_label,
            key=bed.key,
            mechanism=bed.mechanism.number if bed.mechanism else 0,
            hash=bed.mechanism.hash if bed.mechanism else "sha256",
            prefix=bed.mechanism.prefix.hex() if bed.mechanism else "",
            pin=access.pin.reveal(),
            init_string=access.init_string,
            patience_s=bed.patience_s,
            most_sessions=bed.most_sessions,
            children=bed.children,
            may_create=bed.may_create,
            beside=access.beside,
            mounts=access.mounts,
        )
        return _checked(bed, _play(order, access.environment, keeper, folder, patience_s))
    finally:
        keeper.end_all()
        shutil.rmtree(folder, ignore_errors=True)


def _checked(bed: Bed, seen: Seen) -> Seen:
    """With each signature looked at, by code that shares nothing with the module."""
    if bed.mechanism is None:
        return seen
    signature, pem = bed.mechanism, bed.public_pem
    outputs = [
        replace(one, right=is_right(signature, pem, one.data, one.value)) if one.data else one for one in seen.outputs
    ]
    return replace(seen, outputs=tuple(outputs), public_pem=pem)


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
