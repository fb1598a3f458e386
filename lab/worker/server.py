"""A worker that serves: its threads accept connections, in C, until it has had its share or the root says stop."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabFault
from lab.native.serving import Server
from lab.record.order import TlsOrder, TrialOrder
from lab.worker.channel import Channel
from lab.worker.context import Context
from lab.worker.listeners import addresses
from lab.worker.steps import SetUpFailed
from lab.worker.tls_context import TlsContext


def serve(
    order: TrialOrder,
    process: int,
    channel: Channel,
    context: Context,
    listeners: Sequence[socket.socket],
    failure: SetUpFailed | None,
) -> tuple[int, int]:
    """Returns this process's processor time since the release, and how long ago that was, in ns.

    A worker whose set-up failed accepts nothing: a server that cannot sign must not take clients from those that can.
    """
    if failure is not None or not isinstance(context, TlsContext) or order.tls is None:
        for listener in listeners:
            listener.close()
        channel.wait_for("release", "stop")
        return 0, 0
    server = Server(Path(order.folder), process, order.capacity, context.tls, order.tls.timeout_ns)
    sockets = [(listener.fileno(), _host_of(order.tls, listener)) for listener in listeners]
    server.listen("event" if order.kind == "event" else "blocking", sockets)
    if channel.wait_for("release", "stop").word == "stop":
        return 0, 0
    begun_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
    _accept(order, order.tls, channel, server)
    starved = server.starved
    server.close()
    if starved:
        raise LabFault(f"no open file was left for a connection, {starved} times: raise the limit (ulimit -Hn)")
    return time.process_time_ns() - cpu_ns, time.monotonic_ns() - begun_ns


def _host_of(tls: TlsOrder, listener: socket.socket) -> int:
    """The host whose address this is; by SNI, the first, which answers clients that name none."""
    return addresses(tls).index(listener.getsockname()[0])


def _accept(order: TrialOrder, tls: TlsOrder, channel: Channel, server: Server) -> None:
    """Every thread's loop, until the last has had its share, or somebody says stop, or the root is gone.

    The first is this very thread, which made the context: a process of one thread must look like one to the module.
    """
    over = os.eventfd(0)
    faults: list[LabFault] = []

    def watch() -> None:
        waiting = select.poll()
        waiting.register(over, select.POLLIN)
        waiting.register(channel, select.POLLIN)
        if all(ready != over for ready, _ in waiting.poll()):
            server.stop()  # whatever it is: stop, or the end of the root

    def run(thread: int) -> None:
        try:
            server.run(thread, tls.connections_per_child)
        except LabFault as fault:
            faults.append(fault)
            server.stop()

    watcher = threading.Thread(target=watch)
    others = [threading.Thread(target=run, args=(thread,)) for thread in range(1, order.threads)]
    for thread in (watcher, *others):
        thread.start()
    run(0)
    for thread in others:
        thread.join()
    os.eventfd_write(over, 1)
    watcher.join()
    os.close(over)
    if faults:
        raise faults[0]
