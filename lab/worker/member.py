"""The life of one worker: set-up, first operation, load, and an orderly end, each on a word from the root."""

from __future__ import annotations

import os
import socket
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabFault
from lab.native.cryptoki import CryptokiError
from lab.native.loops import Drive, Load, Work, addresses
from lab.record.order import TrialOrder
from lab.worker.arrivals import arrivals_of
from lab.worker.channel import Channel
from lab.worker.context import Context, NativeContext, NullContext
from lab.worker.policies import policy_of
from lab.worker.steps import SetUpFailed


def context_of(order: TrialOrder) -> Context:
    """The context that the order's driver makes; python-pkcs11 is imported only by those who use it."""
    if order.tls is not None and order.tls.server == "lab":
        from lab.worker.tls_context import TlsContext

        return TlsContext(order, order.tls)
    if order.token is None or order.context is None:
        return NullContext()
    if order.driver == "python-pkcs11":
        from lab.worker.python_driver import PythonContext

        return PythonContext(order, order.token, order.context)
    return NativeContext(order, order.token, order.context)


def drive_of(order: TrialOrder, process: int) -> Drive:
    """The rows of one process. Raises LabFault."""
    from lab.record.mechanisms import SIGNATURE_BYTES

    output_bytes = SIGNATURE_BYTES[order.key] if order.key and order.tls is None else 0
    return Drive(Path(order.folder), process, order.capacity, output_bytes)


def live(
    order: TrialOrder,
    process: int,
    channel: Channel,
    context: Context,
    inherited: SetUpFailed | None,
    listeners: Sequence[socket.socket] = (),
) -> int:
    """Runs worker `process` to its end; returns its exit status. `inherited` is the root's own failure to set up."""
    try:
        channel.wait_for("begin")
        return _work(order, process, channel, context, inherited, listeners)
    except (EOFError, ConnectionError):
        return 1  # the root is gone, and this process with it
    except (LabFault, OSError) as fault:
        os.write(2, f"worker {process}: {fault}\n".encode())
        return os.EX_SOFTWARE  # ours, not the token's: the watch makes the trial invalid
    except Exception:
        traceback.print_exc()
        return os.EX_SOFTWARE


def _work(
    order: TrialOrder,
    process: int,
    channel: Channel,
    context: Context,
    inherited: SetUpFailed | None,
    listeners: Sequence[socket.socket],
) -> int:
    policy = policy_of(order)
    drive = drive_of(order, process)
    failure = inherited
    if failure is None:
        try:
            policy.after_fork(context, drive, order.threads)
        except SetUpFailed as error:
            failure = error
    if failure is None:
        resume = order.fork_point == "mid-operation" and policy.in_root and not policy.owns_sessions
        context.once("first", resume)
    channel.send("ready", failure=str(failure) if failure else None)
    if order.tls is not None:
        from lab.worker.server import serve

        cpu_ns, busy_ns = serve(order, process, channel, context, listeners, failure)
        channel.send("finished", cpu_ns=cpu_ns, busy_ns=busy_ns)
    else:
        release_ns = channel.wait_for("release").at_ns
        _load(order, process, drive, context, failure, release_ns)
        channel.send("finished")
    while channel.wait_for("leave", "stop").word != "leave":
        pass  # a server that had its share of connections may be told to stop after it did
    if inherited is None:
        try:
            context.leave(drive, policy.owns_context, policy.owns_sessions)
        except (SetUpFailed, CryptokiError):
            pass  # on record as a teardown row
    return 0


def _load(
    order: TrialOrder,
    process: int,
    drive: Drive,
    context: Context,
    failure: SetUpFailed | None,
    release_ns: int,
) -> None:
    parts: list[tuple[int, int] | None] = [None] * order.threads
    if order.open_loop:
        arrivals = arrivals_of(order)
        first = (process - 1) * order.threads
        parts = list(addresses(arrivals, order.arrivals)[first : first + order.threads])
    refusal = None
    if failure is not None:
        refusal = failure.refusal
        drive.set(Work(order.workload.replace("-", "_")))

    def run(thread: int) -> None:
        load = Load(
            release_ns,
            order.warmup_ns,
            order.duration_ns,
            order.give_up_ns,
            parts[thread],
            refusal=refusal,
        )
        if refusal is None:
            context.run(thread, load)
        else:
            drive.run(thread, load)

    others = [threading.Thread(target=run, args=(thread,)) for thread in range(1, order.threads)]
    for other in others:
        other.start()
    run(0)
    for other in others:
        other.join()
