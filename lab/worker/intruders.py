"""Connections that are no handshakes: a server must bear them, and the clients beside them should not notice.

silent     connects and says nothing                   held until the server closes, for twice its time-out at most
rubbish    sends what is not TLS                       likewise
reset      sends half a ClientHello, then a TCP reset  gone at once
mismatch   offers no version or cipher of the server   held, so that the server can say so and close
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import struct
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from lab.errors import LabFault
from lab.record.order import IntrudersOrder, TlsOrder

Manner = Literal["silent", "rubbish", "reset", "mismatch"]

MANNERS: Final[tuple[Manner, ...]] = get_args(Manner)
RUBBISH: Final = b"This is no record of TLS, whatever its first five bytes may be taken for.\n"
_PATIENCE: Final = 2
"""Time-outs that a server has, from the end of the load, to close upon those that are still there: its own count begins
when it accepts, and that may be later."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: nobody is left in TIME_WAIT


@dataclass(frozen=True)
class Visit:
    """One connection: when (ns after the release), to which host, and how it behaves."""

    at_ns: int
    host: int
    manner: Manner


def total(order: IntrudersOrder) -> int:
    """All that are planned, of every manner."""
    return sum(getattr(order, manner) for manner in MANNERS)


def visits(order: IntrudersOrder, hosts: int, warmup_ns: int, duration_ns: int) -> list[Visit]:
    """All visits in order of time: of each manner in the middle of as many equal parts of the measured load."""
    planned: list[tuple[int, Manner]] = []
    for manner in MANNERS:
        count = getattr(order, manner)
        planned += [(warmup_ns + duration_ns * (2 * i + 1) // (2 * count), manner) for i in range(count)]
    return [Visit(at_ns, place % hosts, manner) for place, (at_ns, manner) in enumerate(sorted(planned))]


def client_hello(version: str, *, shared: bool) -> bytes:
    """A ClientHello that a server of this version answers (shared), or that has nothing in common with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if not shared:
        # Python cannot choose the ciphers of TLS 1.3; one of 1.2 alone has its version as the mismatch
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if version == "1.2":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                context.set_ciphers("aNULL:@SECLEVEL=0")  # no certificate: no server offers these by itself
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass  # as it must: nobody answers
    return outgoing.read()


class Intruders:
    """Makes the visits of one load, in a thread of its own, which ends after stop() with every socket closed."""

    def __init__(self, tls: TlsOrder, warmup_ns: int, duration_ns: int, give_up_ns: int) -> None:
        self._addresses: Sequence[str] = [host.address for host in tls.hosts]
        self._port = tls.port
        self._version = tls.version
        self._visits = visits(tls.intruders, len(tls.hosts), warmup_ns, duration_ns)
        self._patience_ns = _PATIENCE * tls.timeout_ns
        self._give_up_ns = give_up_ns
        self._selector = selectors.DefaultSelector()
        self._made = 0
        self._fault: OSError | None = None
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._selector.register(self._over, selectors.EVENT_READ)

    def run(self, release_ns: int) -> int:
        """Returns the number of connections that were tried: all that are planned, unless it had to give up."""
        try:
            self._made = self._run(release_ns)
        except OSError as error:
            self._fault = error  # it would be lost in this thread: see check()
        return self._made

    def check(self) -> None:
        """Raises LabFault where not all visits were made that are planned: they are counted by the plan."""
        if self._fault is not None:
            raise LabFault(f"the intruders gave up: {self._fault.strerror}")
        if self._made < len(self._visits):
            raise LabFault(f"only {self._made} of {len(self._visits)} intruders came before the trial's time was over")

    def _run(self, release_ns: int) -> int:
        waiting = list(self._visits)
        until_ns = self._give_up_ns
        while self._selector.get_map() or waiting:  # the load goes on, or somebody is held, or is to come
            now_ns = time.monotonic_ns()
            if now_ns >= until_ns:
                break
            while waiting and release_ns + waiting[0].at_ns <= now_ns:
                self._visit(waiting.pop(0))
            next_ns = min(until_ns, release_ns + waiting[0].at_ns) if waiting else until_ns
            for key, events in self._selector.select(max(0, next_ns - now_ns) / 1e9):
                if key.fileobj == self._over:
                    self._selector.unregister(self._over)
                    last_ns = release_ns + self._visits[-1].at_ns if self._visits else now_ns
                    until_ns = min(until_ns, max(now_ns, last_ns) + self._patience_ns)
                elif isinstance(key.fileobj, socket.socket):
                    self._go_on(key.fileobj, key.data, events)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                self._leave(key.fileobj)
        self._selector.close()
        os.close(self._over)
        return len(self._visits) - len(waiting)

    def stop(self) -> None:
        """The load is over. Once, while or before run() runs."""
        os.eventfd_write(self._over, 1)

    def _visit(self, visit: Visit) -> None:
        end = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._selector.register(end, selectors.EVENT_READ | selectors.EVENT_WRITE, visit.manner)
        end.connect_ex((self._addresses[visit.host], self._port))  # what comes of it, the selector tells

    def _go_on(self, end: socket.socket, manner: Manner, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and not end.recv(4096):
                self._leave(end)
            elif events & selectors.EVENT_WRITE:
                end.send(self._words(manner))
                self._selector.modify(end, selectors.EVENT_READ, manner)
                if manner == "reset":
                    self._leave(end)
        except BlockingIOError:
            pass  # not yet connected
        except OSError:
            self._leave(end)  # refused, or closed upon: that is an answer too

    def _words(self, manner: Manner) -> bytes:
        if manner == "rubbish":
            return RUBBISH
        if manner == "mismatch":
            return client_hello(self._version, shared=False)
        if manner == "reset":
            whole = client_hello(self._version, shared=True)
            return whole[: len(whole) // 2]
        return b""

    def _leave(self, end: socket.socket) -> None:
        self._selector.unregister(end)
        end.close()
