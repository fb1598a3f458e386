"""The coordinator's side of the probe: each stage in a tree of its own, on a fresh token, with a deadline."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lab import program
from lab.errors import LabFault
from lab.probe.examination import Examined
from lab.probe.line import Judgement, Line, explained, judged
from lab.probe.listening import Listening, Why
from lab.probe.order import StageOrder
from lab.probe.repeats import with_proof
from lab.probe.seen import Seen, gather, hangs_by_itself, refused_pin
from lab.process.stacks import outer, save_stack
from lab.record.mechanisms import Mechanism
from lab.record.order import BesideOrder
from lab.record.verify import is_right
from lab.tokens.model import Token
from lab.topology.line import KeeperLine

PATIENCE_S: Final = 3.0
"""For one process or call of a stage."""
_SHORT_S: Final = 1.0
"""The same, once the module was seen to hang in a process that does all by the book: it is known, and time is short."""
_STAGE: Final = 5
_QUIET: Final = 2
"""Times the patience: after which a stage itself hangs, for it may wait for several that do; and without a word."""


@dataclass(frozen=True)
class Bed:
    """The token that is examined, ready, and what its stages need to know."""

    token: Token
    key: str | None  # kind of the key that signs
    mechanism: Mechanism | None  # that it signs a digest with: ECDSA, RSA_PKCS
    public_pem: str  # of the key
    most_sessions: int
    no_key: str = "There is no key to sign with."  # why key is None
    children: int = 50
    may_create: bool = True  # session objects
    read_write: bool = False  # every session
    patience_s: float = PATIENCE_S


_LOCKS: Final = ", to the right PIN. A token that is not the lab's own may lock: it was tried no more."
NO_TIME: Final = Judgement("not-exercised", "No time was left for it.")


class Interrupted(Exception):
    """The user wants the end."""


def examine(
    bed: Bed,
    lines: Iterable[Line],
    keeper: KeeperLine,
    private: Path,
    until_s: float,
    interrupt: int,
    seen: dict[str, Seen],
) -> Iterator[Examined]:
    """All lines, in their order. What each stage saw goes into `seen`; one that several lines share is done once.

    until_s: instant of time.monotonic(); lines that it leaves no time for are not exercised, and say so. interrupt:
    readable when the user wants the end. Raises Interrupted or LabFault, in the midst of a stage.
    """
    refused = ""
    for line in lines:
        stages = (line.stage, *line.also)
        if line.needs_key and bed.key is None:
            yield Examined.of(line, Judgement("not-exercised", bed.no_key))
            continue
        for stage in stages:
            left_s = until_s - time.monotonic()
            if stage not in seen and left_s > 0 and not refused:
                seen[stage] = _stage(bed, stage, keeper, private / stage, left_s, interrupt)
                refused = "" if bed.may_create else refused_pin(seen[stage])
                if hangs_by_itself(seen[stage]):
                    bed = replace(bed, patience_s=min(bed.patience_s, _SHORT_S))
        if line.stage in seen:
            saw = [seen.get(stage, Seen()) for stage in stages]  # of further stages the judge takes what there is
            yield Examined.of(line, explained(judged(line, *saw), *saw))
        elif refused:
            yield Examined.of(line, Judgement("not-exercised", f"{refused}{_LOCKS}"))
        else:
            yield Examined.of(line, NO_TIME)


def _stage(bed: Bed, stage: str, keeper: KeeperLine, folder: Path, most_s: float, interrupt: int) -> Seen:
    folder.mkdir(mode=0o700)
    try:
        access = bed.token.restore(folder / "token", bed.key)
        order = StageOrder(
            stage=stage,
            folder=str(folder),
            token=str(folder / "token"),
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
            read_write=bed.read_write,
            beside=tuple(_with_tap_folder(order, folder) for order in access.beside),
            mounts=access.mounts,
        )
        return _checked(bed, _play(order, access.environment, keeper, folder, most_s, interrupt))
    finally:
        keeper.end_all()
        shutil.rmtree(folder, ignore_errors=True)


def _with_tap_folder(order: BesideOrder, folder: Path) -> BesideOrder:
    """A place for what the tap writes, where such a program loads it; it goes with the stage."""
    return replace(order, environment={**order.environment, "LAB_TAP_DIR": str(folder)})


def _checked(bed: Bed, seen: Seen) -> Seen:
    """With each signature looked at, by code that shares nothing with the module, and repeated nonces proven."""
    if bed.mechanism is None:
        return seen
    signature, pem = bed.mechanism, bed.public_pem
    outputs = [
        replace(one, right=is_right(signature, pem, one.data, one.value)) if one.data else one for one in seen.outputs
    ]
    return with_proof(replace(seen, outputs=tuple(outputs), public_pem=pem))


def _play(
    order: StageOrder,
    environment: Mapping[str, str],
    keeper: KeeperLine,
    folder: Path,
    most_s: float,
    interrupt: int,
) -> Seen:
    given, to_give = os.pipe()
    events, to_say = os.pipe()
    errors = os.open(folder / "stderr.log", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        pid = keeper.spawn(
            program.command("lab.probe.stage"), {**keeper.environment, **environment}, [given, errors, to_say]
        )
        for end in (given, errors, to_say):
            os.close(end)
        with contextlib.suppress(BrokenPipeError), os.fdopen(to_give, "wb") as pipe:
            pipe.write(order.to_json().encode())
        heard = Listening(events, keeper, pid, interrupt)
        late_s = time.monotonic() + min(most_s, _STAGE * order.patience_s)
        why = heard.until(late_s, _QUIET * order.patience_s)
        if why == "interrupted":
            raise Interrupted
        seen = gather(heard.lines)
        if "fault" in seen.facts:
            raise LabFault(str(seen.facts["fault"]))
        return seen if why == "complete" else _cut_off(seen, why, keeper, pid, folder)
    finally:
        os.close(events)


def _cut_off(seen: Seen, why: Why, keeper: KeeperLine, pid: int, folder: Path) -> Seen:
    """With the reason why the stage did not come to its end."""
    last = next((call.name for call in reversed(seen.calls) if call.pid == pid and call.ckr is None), "")
    where = f" in {last}" if last else ""
    status = keeper.ended(pid, wait=why == "ended")
    if status is None:
        file = folder / "stack.txt"
        save_stack(pid, file)
        return replace(seen, cut_off=f"hung{where}", stack=outer(file.read_text(errors="replace")))
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return replace(seen, cut_off=f"crashed with {signal.Signals(-code).name}{where}")
    return replace(seen, cut_off=f"ended with status {code}{where}")
