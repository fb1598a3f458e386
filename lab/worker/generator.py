"""Entry of a generator of handshakes: exec'd, so it inherits nothing of the root but one socket, and maps no module."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Final

from lab.errors import LabFault
from lab.native.generating import Generator, Greeting, Host, Rush
from lab.native.loops import addresses
from lab.process.own import die_with_parent, leave_no_core, let_stacks_be_read, raise_limit_of_files
from lab.record.order import TlsOrder, TrialOrder
from lab.worker.arrivals import arrivals_of
from lab.worker.channel import Channel
from lab.worker.intruders import Intruders, total

_OTHER_FILES: Final = 64  # rows, the line to the root, libraries


def greeting_of(tls: TlsOrder) -> Greeting:
    """Whom this trial's handshakes are with, and how they are made. Raises LabFault where the port is yet unknown."""
    if not tls.port:
        raise LabFault("the generator was told no port")
    hosts = tuple(
        Host(host.name, host.address, tls.port, first_der(host.certificate) if host.certificate else None)
        for host in tls.hosts
    )
    return Greeting(
        hosts,
        tls.version,
        tls.key_exchange,
        tls.timeout_ns,
        resume=tls.resumption != "off",
        closes_first=tls.server != "lab",
        trust=tls.trust,
        tag_key=tls.tag_key,
    )


def first_der(pem: str) -> bytes:
    """The first certificate of a PEM text, which may have a chain after it and words before it, as DER."""
    _, begin, rest = pem.partition(ssl.PEM_HEADER)
    return ssl.PEM_cert_to_DER_cert(begin + rest.partition(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER)


def slots_of(order: TrialOrder, tls: TlsOrder, part: int, most_files: int) -> int:
    """Connections that generator `part`, from 0, may have at a time. Closed loop: its share of the clients.

    Each takes one of `most_files`, as intruders do. An open loop gets by with fewer, for what is due waits and is
    counted from when it was. Raises LabFault where there are too few.
    """
    room = most_files - _OTHER_FILES - (0 if part else total(tls.intruders))
    share = tls.clients // tls.generators + (part < tls.clients % tls.generators)
    wanted = min(tls.clients, max(room, 1)) if order.open_loop else share
    if wanted > room:
        raise LabFault(f"{most_files} open files are too few for {wanted} clients and the intruders: see ulimit -Hn")
    return wanted


def serve(order: TrialOrder, process: int, channel: Channel) -> int:
    """Runs generator `process` to its end; returns its exit status."""
    try:
        channel.wait_for("begin")
        return _work(order, process, channel)
    except (EOFError, ConnectionError):
        return 1  # the root is gone, and this process with it
    except (LabFault, OSError) as fault:
        os.write(2, f"generator {process}: {fault}\n".encode())
        return os.EX_SOFTWARE
    except Exception:
        traceback.print_exc()
        return os.EX_SOFTWARE


def _work(order: TrialOrder, process: int, channel: Channel) -> int:
    tls = order.tls
    if tls is None:
        raise LabFault("the order has no handshakes in it")
    part = process - order.processes - 1
    slots = slots_of(order, tls, part, raise_limit_of_files())
    instants = arrivals_of(order)  # held for as long as the load runs
    arrivals = addresses(instants, order.arrivals)[part] if order.open_loop else None
    generator = Generator(Path(order.folder), process, order.capacity)
    generator.set(greeting_of(tls))
    if slots:
        generator.prepare(slots)
    intruders = None
    if part == 0 and total(tls.intruders):
        intruders = Intruders(tls, order.warmup_ns, order.duration_ns, order.give_up_ns)
    channel.send("ready")
    release_ns = channel.wait_for("release").at_ns
    beside = intruders and threading.Thread(target=intruders.run, args=(release_ns,))
    if beside:
        beside.start()
    rush = Rush(release_ns, order.warmup_ns, order.duration_ns, order.give_up_ns, slots, arrivals)
    cpu_ns = -_loop_cpu_ns()
    if slots:
        generator.run(rush)
    cpu_ns += _loop_cpu_ns()
    busy_ns = max(0, time.monotonic_ns() - release_ns)
    if intruders and beside:
        intruders.stop()
        beside.join()
        intruders.check()
    channel.send("finished", cpu_ns=cpu_ns, busy_ns=busy_ns)
    channel.wait_for("leave")
    generator.close()
    return 0


def _loop_cpu_ns() -> int:
    """Of this thread alone, which is the loop: the intruders beside it are no part of what limits it."""
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return round((used.ru_utime + used.ru_stime) * 1e9)


def main() -> None:
    process, descriptor, parent = (int(word) for word in sys.argv[1:4])
    die_with_parent(parent)
    let_stacks_be_read()
    leave_no_core()
    order = TrialOrder.from_json(sys.stdin.read())
    os._exit(serve(order, process, Channel(socket.socket(fileno=descriptor))))


if __name__ == "__main__":
    main()
