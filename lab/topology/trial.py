"""One trial from the coordinator's side: a private token, a fresh tree, a watch over it, and a TrialRecord."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lab import program
from lab.errors import LabFault
from lab.native import library
from lab.plan import PlannedTrial, arrivals
from lab.record.begun import note_begun
from lab.record.folder import slug
from lab.record.model import ProcessRecord, Role, TrialRecord
from lab.record.order import ARRIVALS, ContextOrder, TlsOrder, TokenOrder, TrialOrder
from lab.record.seal import Verification
from lab.scenario import Arm
from lab.tokens.broker import behind_broker
from lab.tokens.model import Token, TokenAccess
from lab.topology.line import KeeperLine
from lab.topology.reach import rows_folder
from lab.topology.site import free_port, open_site, refusal, take_in
from lab.topology.tls_order import Hosts, tls_order
from lab.topology.watch import Seen, Watch, facts_of

_NS: Final = 1_000_000_000
# Rows to reserve (addresses, not disk) for a thread in a closed loop, more than it can fill: a null operation reads
# the clock twice, and SoftHSM opens and closes a session in a microsecond.
_FASTEST_HZ: Final = {"null": 50_000_000}
_FASTEST_OTHER_HZ: Final = 10_000_000
_FASTEST_HANDSHAKES_HZ: Final = 100_000
_MOST_ROWS: Final = 1 << 30
_SET_UP_ROWS: Final = 4096
_TAG_KEY_BYTES: Final = 16
_CALLS_PER_OPERATION: Final = 4
_LEAST_CALL_ROWS: Final = 1 << 20

TOKEN: Final = "token"
"""Folder of the token in a trial's private one."""

ROWS: Final = "rows"
"""Folder in a trial's private one for the tap's files, where the run folder is closed to a server's workers."""


@dataclass(frozen=True)
class Bench:
    """What the trials of a run have in common."""

    line: KeeperLine
    trials: Path  # where the trials' folders go
    private: Path  # where tokens go; guarded by the keeper
    interrupted: int  # file descriptor that becomes readable when the user wants to stop
    seed: int  # the scenario's


def run_trial(
    bench: Bench,
    planned: PlannedTrial,
    arm: Arm,
    token: Token | None,
    check: Verification | None,
    hosts: Hosts | None = None,
) -> tuple[Path, TrialRecord]:
    """Runs one trial; returns its folder, with the rows in it, and what is known of it without them.

    `check` is noted down for a recovery of the rows, should the coordinator die; nothing is verified here. `hosts` are
    those of a handshake arm.

    Raises LabFault where the machine is at its limits (disk, processes). Every process of the trial has ended then too.
    """
    folder = bench.trials / f"{planned.number:04d}-{slug(arm.name)}"
    private = bench.private / f"{planned.number:04d}"
    try:
        folder.mkdir()
        private.mkdir(mode=0o700)
        access = token.restore(private / TOKEN, arm.workload.key) if token else None
        if access and arm.context and arm.context.policy == "broker":
            access = behind_broker(access, private)
        due = arrivals(arm, bench.seed, planned.block)
        tag_key = os.urandom(_TAG_KEY_BYTES).hex() if access else ""
        tls = replace(tls_order(arm, hosts, private), tag_key=tag_key) if hosts else None
        order = order_of(arm, planned, folder, access, due, tls)
        if due:
            np.concatenate(due).astype("<i8").tofile(folder / ARRIVALS)
        note_begun(folder, _record(planned, arm, order, None), check, key_in_token(arm))
        if arm.server is not None and access is not None:
            return folder, _with_real_server(bench, planned, arm, order, access, folder, private, tag_key)
        watch = _play(bench, folder, order, _environment(arm, folder, order, access, tag_key))
    except OSError as error:
        raise LabFault(f"{error.filename or folder}: {error.strerror}") from None
    finally:
        bench.line.end_all()
        shutil.rmtree(private, ignore_errors=True)
    return folder, _record(planned, arm, order, watch)


def _with_real_server(
    bench: Bench,
    planned: PlannedTrial,
    arm: Arm,
    order: TrialOrder,
    access: TokenAccess,
    folder: Path,
    private: Path,
    tag_key: str,
) -> TrialRecord:
    """A trial whose server is a real one, up to what its logs tell."""
    assert order.tls is not None  # only handshakes have a real server
    rows = private / ROWS
    bench.line.guard(private, keep=rows, keep_in=folder)
    tls = replace(order.tls, port=order.tls.port or free_port(host.address for host in order.tls.hosts))
    order = replace(order, token=None, context=None, tls=tls)  # the server has them in its configuration
    with rows_folder(folder, rows) as tapped:
        environment = _environment(arm, tapped, order, access, tag_key)
        tap = {name: value for name, value in environment.items() if name.startswith("LAB_TAP_")}
        real = open_site(arm, access, private / TOKEN, tls, private, tap)
        # what owns a token that the server's user is to reach must be that user
        beside = tuple(replace(each, user=each.user or real.site.user) for each in order.beside)
        # which is started as a user that reads a configuration of its own
        mounts = tuple(each for each in order.mounts if each not in access.root_mounts)
        order = replace(order, server=real.order, beside=beside, mounts=mounts)
        watch = _play(bench, folder, order, environment)  # the server alone has what its order says
        bench.line.end_all()  # or the rows of one that lives on would move under its feet
    if watch.refused:
        raise refusal(real, folder)
    server, texts = take_in(real, watch, folder)
    record = _record(planned, arm, order, watch)
    return replace(record, server=server, error_texts=tuple(sorted(texts.items())))


def _play(bench: Bench, folder: Path, order: TrialOrder, environment: dict[str, str]) -> Watch:
    given, to_give = os.pipe()
    report, to_report = os.pipe()
    os.set_blocking(report, False)
    errors = os.open(folder / "stderr.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        everything = {**bench.line.environment, **environment}
        pid = bench.line.spawn(program.command("lab.worker.root"), everything, [given, errors, to_report])
        for end in (given, errors, to_report):
            os.close(end)
        with os.fdopen(to_give, "wb") as pipe:
            try:
                pipe.write(order.to_json().encode())
            except BrokenPipeError:
                pass  # it died at once; the watch will say so
        watch = Watch(bench.line, pid, report, folder, order.deadline_ns / _NS, bench.interrupted)
        watch.run()
    finally:
        os.close(report)
    if not (folder / "stderr.log").stat().st_size:
        (folder / "stderr.log").unlink()
    return watch


def _environment(arm: Arm, folder: Path, order: TrialOrder, access: TokenAccess | None, tag_key: str) -> dict[str, str]:
    """Environment of the tap, of the token behind it, and of OpenSSL."""
    # The machine's own openssl.cnf may load engines and providers, or change what is offered.
    openssl = {"OPENSSL_CONF": os.devnull} if order.tls else {}
    if access is None:
        return openssl
    rows = min(_MOST_ROWS, max(_LEAST_CALL_ROWS, _CALLS_PER_OPERATION * order.capacity))
    if order.tls and order.tls.bridge_library and arm.context and arm.context.locking:
        openssl["LAB_TAP_LOCKING"] = arm.context.locking  # what a library asks for cannot be set otherwise
    init = {"LAB_TAP_INIT": access.init_string} if access.init_string else {}  # for libraries, which have none to give
    return {
        **openssl,
        **access.environment,
        **init,
        "LAB_TAP_MODULE": str(access.module),
        "LAB_TAP_DIR": str(folder),
        "LAB_TAP_KEY": tag_key,
        "LAB_TAP_ROWS": str(rows),
    }


def order_of(
    arm: Arm,
    planned: PlannedTrial,
    folder: Path,
    access: TokenAccess | None,
    due: tuple[NDArray[np.int64], ...],
    tls: TlsOrder | None = None,
) -> TrialOrder:
    """The trial as its root is told it. The clock of its time-out starts here."""
    topology = arm.topology
    return TrialOrder(
        folder=str(folder),
        kind=topology.kind if topology else "prefork",  # of an external server: nothing is forked
        processes=topology.processes if topology and not arm.server else 0,
        threads=topology.threads if topology else 1,
        fork_point=topology.fork_point if topology else "idle",
        busy_threads=(topology and topology.busy_threads) or 0,
        start=topology.start if topology else "staggered",
        workload=arm.workload.kind,
        driver=arm.workload.driver or "native",
        key=arm.workload.key,
        mechanism=arm.workload.mechanism,
        token=_token_order(access),
        context=_context_order(arm),
        open_loop=arm.load.mode == "open",
        arrivals=tuple(len(part) for part in due),
        warmup_ns=round(arm.load.warmup_s * _NS),
        duration_ns=round(arm.load.duration_s * _NS),
        capacity=_capacity(arm, due),
        deadline_ns=time.monotonic_ns() + round(arm.timeout_s * _NS),
        seed=planned.seed,
        tls=tls,
        beside=access.beside if access else (),
        mounts=access.mounts if access else (),
    )


def _token_order(access: TokenAccess | None) -> TokenOrder | None:
    if access is None:
        return None
    pin = access.pin.reveal()
    return TokenOrder(str(library("tap")), access.token_label, access.key_label, pin, access.init_string)


def _context_order(arm: Arm) -> ContextOrder | None:
    context = arm.context
    if context is None or context.policy is None:
        return None
    inherit = context.inherit or "sessions"
    session, locking = context.session or "per-thread", context.locking or "os"  # None: a bridge's own business
    return ContextOrder(context.policy, inherit, session, context.pool_size or 1, locking)


def _capacity(arm: Arm, due: tuple[NDArray[np.int64], ...]) -> int:
    """Rows that one process may need."""
    length_s = arm.load.warmup_s + arm.load.duration_s
    if arm.tls:  # any server may get all connections, and intruders too
        most = sum(map(len, due)) if due else round(length_s * _FASTEST_HANDSHAKES_HZ)
        return min(_MOST_ROWS, most + _intruders(arm) + _SET_UP_ROWS)
    assert arm.topology is not None
    threads = arm.topology.threads
    busy = round(arm.timeout_s * _FASTEST_OTHER_HZ) * (arm.topology.busy_threads or 0)
    if due:
        most = max(sum(map(len, due[first : first + threads])) for first in range(0, len(due), threads))
        return min(_MOST_ROWS, most + _SET_UP_ROWS + 2 * threads + busy)
    fastest_hz = _FASTEST_HZ.get(arm.workload.kind, _FASTEST_OTHER_HZ)
    return min(_MOST_ROWS, round(length_s * fastest_hz * threads) + _SET_UP_ROWS + busy)


def key_in_token(arm: Arm) -> bool:
    """Whether operations need the token, so that one without a recorded call went unseen."""
    return arm.tls is None or arm.tls.bridge != "software"


def _intruders(arm: Arm) -> int:
    return sum(arm.load.intruders.model_dump().values()) if arm.load.intruders else 0


def _record(planned: PlannedTrial, arm: Arm, order: TrialOrder, watch: Watch | None) -> TrialRecord:
    """What the watch saw; without one, what is planned."""
    seen = dict(watch.seen) if watch else {}
    generators = order.tls.generators if order.tls else 0
    for process in range(order.processes + generators + 1):
        role: Role = "root" if not process else "worker" if process <= order.processes else "generator"
        seen.setdefault(process, Seen(process, 0, None, end="never-started", role=role))
    return TrialRecord(
        number=planned.number,
        block=planned.block,
        arm=planned.arm,
        open_loop=order.open_loop,
        released_ns=watch.released_ns if watch else None,
        warmup_ns=order.warmup_ns,
        duration_ns=order.duration_ns,
        processes=tuple(_process(watch, seen[process], order) for process in sorted(seen)),
        lost_rows=0,
        invalid_because=tuple(watch.faults) if watch else (),
        partial=watch.partial if watch else True,
        owners=tuple(watch.owners.values()) if watch else (),
        noise=watch.sentinel.noise if watch else None,
    )


def _process(watch: Watch | None, seen: Seen, order: TrialOrder) -> ProcessRecord:
    return ProcessRecord(
        index=seen.process,
        role=seen.role,
        pid=seen.pid,
        planned=_planned(seen, order),
        pss_kib=watch.pss_kib.get(seen.process) if watch else None,
        involuntary=watch.involuntary.get(seen.process) if watch else None,
        threads=order.threads if seen.role == "worker" else 1,
        finished=seen.finished or (watch is not None and watch.done and (not seen.process or _has_ended(seen))),
        **facts_of(seen),
    )


def _has_ended(seen: Seen) -> bool:
    """Whether a process of a real server came to its end as such processes do."""
    return seen.born_ns is not None and seen.end in ("exit", "unknown")


def _planned(seen: Seen, order: TrialOrder) -> int:
    """Operations of an open loop that are this process's to begin."""
    if order.tls:
        first, many = seen.process - order.processes - 1, int(seen.role == "generator")
    else:
        first, many = (seen.process - 1) * order.threads, order.threads if seen.role == "worker" else 0
    return sum(order.arrivals[first : first + many])
