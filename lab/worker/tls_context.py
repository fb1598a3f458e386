"""The context of a TLS server: OpenSSL's objects, and below them whatever the bridge to the key needs.

What is shared or not is all of it, as in bug 42688: SSL_CTX and keys, with the engine, the provider or the PKCS#11
library that they sit on. What libp11 and pkcs11-provider do by themselves after a fork is left to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from lab.errors import LabFault
from lab.native.loops import Drive, Load
from lab.native.serving import ServingError, Tls
from lab.record.order import HostOrder, TlsOrder, TrialOrder
from lab.worker.pkcs11_library import SESSION_USE, Pkcs11
from lab.worker.steps import SetUpFailed, step


class Bridge(Protocol):
    """How TLS reaches its keys. All methods raise SetUpFailed."""

    keeps_hosts: bool  # over a reload: keys and SSL_CTX stay, because what they refer to is only brought up to date

    def load(self, tls: Tls, drive: Drive, threads: int) -> None:
        """Makes what keys need."""

    def key(self, host: int) -> str:
        """What Tls.key() takes for this host."""

    def reopen(self, tls: Tls, drive: Drive, threads: int) -> None:
        """Opens sessions of its own in what was inherited."""

    def reload(self, tls: Tls, drive: Drive, threads: int) -> None:
        """Makes anew, in the child, what was inherited."""

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        """Gives back what is below OpenSSL."""


class Direct:
    """The lab's own: a PKCS#11 library that the lab has set up, with sessions by its policy. No fork handling."""

    keeps_hosts = True

    def __init__(self, order: TrialOrder, tls: TlsOrder) -> None:
        if order.token is None or order.context is None:
            raise LabFault("the bridge direct without a token")
        self._hosts = tls.hosts
        self._session_use = SESSION_USE[order.context.session]
        self._pkcs11 = Pkcs11(order.token, order.context, tuple(host.key_label for host in tls.hosts))

    def load(self, tls: Tls, drive: Drive, threads: int) -> None:
        self._pkcs11.make(drive, threads)
        with _as_step():
            tls.load()
        self._point(tls)

    def key(self, host: int) -> str:
        return self._hosts[host].public_key

    def reopen(self, tls: Tls, drive: Drive, threads: int) -> None:
        self._pkcs11.reopen(drive, threads)
        self._point(tls)

    def reload(self, tls: Tls, drive: Drive, threads: int) -> None:
        self._pkcs11.reload(drive, threads)
        self._point(tls)

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        self._pkcs11.leave(drive, own_context, own_sessions)

    def _point(self, tls: Tls) -> None:
        own = self._pkcs11
        with _as_step():
            tls.token(own.module.function_list, own.slot, own.sessions, self._session_use, own.keys)


class Loaded:
    """An engine or a provider: somebody else's library, which initialises, logs in and opens sessions as it likes."""

    keeps_hosts = False

    def __init__(self, order: TrialOrder, tls: TlsOrder) -> None:
        if order.token is None or tls.bridge_library is None:
            raise LabFault(f"the bridge {tls.bridge} without a token, or without its library")
        self._token, self._hosts = order.token, tls.hosts
        # a provider is told its module by its configuration file, an engine by a command
        self._library = Path(tls.bridge_config or tls.bridge_library)

    def load(self, tls: Tls, drive: Drive, threads: int) -> None:
        with step(drive, "load"), _as_step():
            tls.load(self._library, Path(self._token.module), self._token.pin)

    def key(self, host: int) -> str:
        token, key = quote(self._token.token_label, safe=""), quote(self._hosts[host].key_label, safe="")
        return f"pkcs11:token={token};object={key};type=private"

    def reopen(self, tls: Tls, drive: Drive, threads: int) -> None:
        raise LabFault('inherit = "context" is refused for this bridge')

    def reload(self, tls: Tls, drive: Drive, threads: int) -> None:
        with step(drive, "tls_unload"), _as_step():
            tls.unload()
        self.load(tls, drive, threads)

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        """The library closes what it opened when OpenSSL lets go of it."""


class Software:
    """Keys in the memory of the process, and no token: the floor of a handshake."""

    keeps_hosts = True

    def __init__(self, order: TrialOrder, tls: TlsOrder) -> None:
        self._keys = tls.software_keys

    def load(self, tls: Tls, drive: Drive, threads: int) -> None:
        with _as_step():
            tls.load()

    def key(self, host: int) -> str:
        return self._keys[host]

    def reopen(self, tls: Tls, drive: Drive, threads: int) -> None:
        """There is nothing to open."""

    def reload(self, tls: Tls, drive: Drive, threads: int) -> None:
        """There is nothing to reload."""

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        """Nothing was opened."""


_BRIDGES: Final[dict[str, Callable[[TrialOrder, TlsOrder], Bridge]]] = {
    "direct": Direct,
    "engine": Loaded,
    "provider": Loaded,
    "software": Software,
}


class TlsContext:
    """A Context (lab.worker.context) that serves handshakes. `tls` is what the native server works with."""

    def __init__(self, order: TrialOrder, tls: TlsOrder) -> None:
        assert tls.bridge is not None  # a server of the lab's own has one
        self._hosts: tuple[HostOrder, ...] = tls.hosts
        self._named = tls.vhost_by == "sni"
        self._bridge = _BRIDGES[tls.bridge](order, tls)
        self._drive: Drive | None = None
        self.tls = Tls(
            tls.bridge,
            tls.version,
            len(tls.hosts),
            tls.key_exchange,
            tls.ciphers,
            tls.resumption,
            bytes.fromhex(tls.ticket_key) if tls.resumption == "shared" else b"",
        )

    def make(self, drive: Drive, threads: int) -> None:
        self.adopt(drive)
        self._bridge.load(self.tls, drive, threads)
        self._make_hosts(drive)

    def adopt(self, drive: Drive) -> None:
        self._drive = drive

    def reopen(self, drive: Drive, threads: int) -> None:
        self.adopt(drive)
        self._bridge.reopen(self.tls, drive, threads)

    def reload(self, drive: Drive, threads: int) -> None:
        self.adopt(drive)
        self._bridge.reload(self.tls, drive, threads)
        if not self._bridge.keeps_hosts:
            self._make_hosts(drive)

    def _make_hosts(self, drive: Drive) -> None:
        for place, host in enumerate(self._hosts):
            # An engine's or a provider's library also initialises, logs in and opens sessions in there. Of the bridge
            # direct, the search on the token is a row already: what is left is OpenSSL's object for the key.
            if not self._bridge.keeps_hosts:
                with step(drive, "open_key", vhost=place), _as_step():
                    self.tls.key(place, self._bridge.key(place))
            with step(drive, "tls_context", vhost=place), _as_step():
                if self._bridge.keeps_hosts:
                    self.tls.key(place, self._bridge.key(place))
                self.tls.context(place, host.certificate, host.name if self._named else None)

    def begin_operation(self) -> None:
        """A handshake belongs to a connection; scenarios refuse the combination."""

    def once(self, phase: str, resume: bool = False) -> int:
        """A handshake with itself, as the parent's check. The first handshake of a server is its first client's."""
        if phase == "first" or self._drive is None:
            return 0
        row = self._drive.begin("handshake", phase)
        outcome = self.tls.handshake_once()
        self._drive.end(row, outcome.code, outcome.function, outcome.layer, outcome.session)
        return outcome.code

    def run(self, thread: int, load: Load) -> None:
        """Servers have no load of their own: see lab.worker.server."""

    def occupy(self, drive: Drive, threads: int) -> None:
        """Scenarios refuse a parent that is busy with handshakes."""

    def stop(self) -> None:
        """Nothing was begun."""

    def leave(self, drive: Drive, own_context: bool, own_sessions: bool) -> None:
        # An engine or a provider may have made a context of this process's own, whoever made what it inherited; a
        # server that exits in order gives OpenSSL's objects back, and what the library does then is its affair.
        if own_context or not self._bridge.keeps_hosts:
            with step(drive, "tls_unload", "teardown"):
                self.tls.close()
        self._bridge.leave(drive, own_context, own_sessions)


@contextmanager
def _as_step() -> Iterator[None]:
    """What OpenSSL or a bridge does not do makes the step fail."""
    try:
        yield
    except ServingError as error:
        raise SetUpFailed(str(error), error.code, error.layer) from None
