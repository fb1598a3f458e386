"""Python's side of the TLS server (serve.c): one Tls, which a fork may copy, and one Server per process.

The order of calls is that of a server in the field:

    tls = Tls("direct", "1.3", hosts=1)
    tls.load()                                   # the bridge
    tls.token(...)                               # direct bridge: sessions and key handles; again after a fork
    tls.key(0, public_pem); tls.context(0, certificate_pem)
    server = Server(folder, process, capacity, tls, timeout_ns)    # after the fork
    server.listen("blocking", [(socket.fileno(), 0)])
    server.run(thread)                           # in each thread, until stop() from another one

What a bridge does wrong is a ServingError, whose layer, code and function go into the row of the step. What a client or
a key does wrong in a handshake is in the connection's row.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from lab.errors import LabFault
from lab.native import library
from lab.record.definition import LAYER

Bridge = Literal["direct", "engine", "provider", "software"]
Resumption = Literal["off", "shared", "per-process"]
Mode = Literal["blocking", "event"]

TICKET_KEY_BYTES: Final = 80
_BRIDGE: Final[dict[Bridge, int]] = {"direct": 0, "engine": 1, "provider": 2, "software": 3}
_RESUMPTION: Final[dict[Resumption, int]] = {"off": 0, "shared": 1, "per-process": 2}
_MODE: Final[dict[Mode, int]] = {"blocking": 0, "event": 1}
_VERSION: Final = {"1.2": 0x0303, "1.3": 0x0304}
_LAYER_NAME: Final = {number: name for name, number in LAYER.items()}
_TEXT_BYTES: Final = 512


class ServingError(Exception):
    """A step of the bridge's set-up failed. `layer`, `code` and `function` (a number) are as in a row."""

    def __init__(self, layer: str, code: int, function: int, text: str) -> None:
        super().__init__(text)
        self.layer = layer
        self.code = code
        self.function = function


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("bytes", "ciphers", "ticket_key")),
        *((name, ctypes.c_uint32) for name in ("bridge", "version", "rsa", "resumption", "hosts", "spare")),
    ]


class _TokenSettings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("bytes", "functions", "slot", "sessions", "session_count")),
        *((name, ctypes.c_uint64) for name in ("keys", "key_count")),
        *((name, ctypes.c_uint32) for name in ("session_use", "spare")),
    ]


class _Outcome(ctypes.Structure):
    _fields_ = [
        ("session", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("code", "layer", "function", "version")),
    ]


@dataclass(frozen=True)
class Outcome:
    """What a handshake with itself came to: `code` 0 where it succeeded, else as in a row; `text` says more."""

    session: int  # direct bridge: that the key was used in; 0 where there was none
    layer: str
    code: int
    function: int
    version: int  # negotiated, such as 0x0304; 0 where it failed
    text: str


@cache
def _functions() -> ctypes.CDLL:
    serve = ctypes.CDLL(str(library("serve")))
    u32, u64, i64, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_void_p
    number, text = ctypes.c_int, ctypes.c_char_p
    to_u32 = ctypes.POINTER(u32)
    prototypes = {
        "tls_new": (pointer, [pointer]),
        "tls_load": (number, [pointer, text, text, text]),
        "tls_token": (number, [pointer, pointer]),
        "tls_key": (number, [pointer, u32, text]),
        "tls_context": (number, [pointer, u32, text, text]),
        "tls_renew_tickets": (number, [pointer]),
        "tls_handshake_once": (number, [pointer, u32, u32, pointer]),
        "tls_error": (text, [pointer, to_u32, to_u32, to_u32]),
        "tls_code_text": (None, [u32, pointer, u64]),
        "tls_unload": (None, [pointer]),
        "tls_free": (None, [pointer]),
        "server_open": (pointer, [text, u64, u32, pointer, i64, ctypes.POINTER(number)]),
        "server_listen": (number, [pointer, u32, pointer, pointer, u32]),
        "server_run": (i64, [pointer, u32, u64]),
        "server_starved": (u64, [pointer]),
        "server_stop": (None, [pointer]),
        "server_close": (None, [pointer]),
        "tls_settings_bytes": (u64, []),
        "tls_token_settings_bytes": (u64, []),
        "tls_outcome_bytes": (u64, []),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(serve, name)
        function.restype, function.argtypes = result, arguments
    for structure, bytes_in_c in (
        (_Settings, serve.tls_settings_bytes()),
        (_TokenSettings, serve.tls_token_settings_bytes()),
        (_Outcome, serve.tls_outcome_bytes()),
    ):
        if ctypes.sizeof(structure) != bytes_in_c:
            raise LabFault("libserve.so was built from another version of the lab: install the package again")
    return serve


def code_text(code: int) -> str | None:
    """What OpenSSL says of a code of its layer, such as "SSL routines: no shared cipher"; None where it has no words.

    Codes of an engine or a provider have their text only in a process that has it loaded.
    """
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    _functions().tls_code_text(code, text, _TEXT_BYTES)
    return text.value.decode(errors="replace") or None


class Tls:
    """Keys and TLS contexts of all hosts. Made before a fork or after it; a fork copies it as it is.

    `ticket_key` (80 bytes) is for resumption "shared". Methods raise ServingError where OpenSSL or the bridge fails.
    """

    def __init__(
        self,
        bridge: Bridge,
        version: Literal["1.2", "1.3"] = "1.3",
        hosts: int = 1,
        key_exchange: Literal["ecdhe", "rsa"] = "ecdhe",
        ciphers: str | None = None,
        resumption: Resumption = "off",
        ticket_key: bytes = b"",
    ) -> None:
        self._c = _functions()
        if resumption == "shared" and len(ticket_key) != TICKET_KEY_BYTES:
            raise LabFault(f"resumption by tickets that processes share needs {TICKET_KEY_BYTES} bytes of key")
        list_ = ctypes.create_string_buffer(ciphers.encode()) if ciphers else None
        tickets = ctypes.create_string_buffer(ticket_key, TICKET_KEY_BYTES) if ticket_key else None
        settings = _Settings(
            bytes=ctypes.sizeof(_Settings),
            ciphers=ctypes.addressof(list_) if list_ else 0,
            ticket_key=ctypes.addressof(tickets) if tickets else 0,
            bridge=_BRIDGE[bridge],
            version=_VERSION[version],
            rsa=key_exchange == "rsa",
            resumption=_RESUMPTION[resumption],
            hosts=hosts,
        )
        self._tls = self._c.tls_new(ctypes.byref(settings))
        if not self._tls:
            raise LabFault("no memory for a TLS server, or no host for it")

    @property
    def address(self) -> int:
        """Of the object in C, for Server."""
        return int(self._tls or 0)

    def _check(self, answer: int) -> None:
        if not answer:
            return
        code, layer, function = ctypes.c_uint32(), ctypes.c_uint32(), ctypes.c_uint32()
        text = self._c.tls_error(self._tls, ctypes.byref(code), ctypes.byref(layer), ctypes.byref(function))
        raise ServingError(_LAYER_NAME[layer.value], code.value, function.value, text.decode(errors="replace"))

    def load(self, library: Path | None = None, module: Path | None = None, pin: str | None = None) -> None:
        """Loads the bridge. `library` is an engine's shared object or a provider's configuration file, `module` an
        engine's PKCS#11 module."""
        paths = [os.fsencode(path) if path else None for path in (library, module)]
        self._check(self._c.tls_load(self._tls, *paths, pin.encode() if pin is not None else None))

    def token(
        self,
        function_list: int,
        slot: int,
        sessions: Sequence[int],
        session_use: int,
        keys: Sequence[int],
    ) -> None:
        """Direct bridge: what its keys call from now on; `keys` are handles, one for each host, the rest as in Work.

        Not while a handshake is under way.
        """
        of_sessions = (ctypes.c_uint64 * max(1, len(sessions)))(*sessions)
        of_keys = (ctypes.c_uint64 * max(1, len(keys)))(*keys)
        settings = _TokenSettings(
            bytes=ctypes.sizeof(_TokenSettings),
            functions=function_list,
            slot=slot,
            sessions=ctypes.addressof(of_sessions),
            session_count=len(sessions),
            keys=ctypes.addressof(of_keys),
            key_count=len(keys),
            session_use=session_use,
        )
        self._check(self._c.tls_token(self._tls, ctypes.byref(settings)))

    def key(self, host: int, what: str) -> None:
        """The private key of a host, by its public half in PEM (direct), a pkcs11: URI (engine, provider), or itself in
        PEM (software)."""
        self._check(self._c.tls_key(self._tls, host, what.encode()))

    def context(self, host: int, certificate: str, name: str | None = None) -> None:
        """The TLS context of a host that has its key. `certificate` is PEM, a chain after it; `name` is for SNI."""
        self._check(self._c.tls_context(self._tls, host, certificate.encode(), name.encode() if name else None))

    def renew_tickets(self) -> None:
        """Resumption "per-process": new keys for this process's tickets, which Server.listen sees to."""
        self._check(self._c.tls_renew_tickets(self._tls))

    def handshake_once(self, host: int = 0, thread: int = 0) -> Outcome:
        """A whole handshake with itself in memory. `thread` chooses the session."""
        got = _Outcome()
        failed = self._c.tls_handshake_once(self._tls, host, thread, ctypes.byref(got))
        text = ""
        if failed:
            ignored = ctypes.c_uint32()
            raw = self._c.tls_error(self._tls, ctypes.byref(ignored), ctypes.byref(ignored), ctypes.byref(ignored))
            text = raw.decode(errors="replace")
        return Outcome(got.session, _LAYER_NAME[got.layer], got.code, got.function, got.version, text)

    def unload(self) -> None:
        """Gives back contexts, keys and the bridge, so that load() can begin anew."""
        self._c.tls_unload(self._tls)

    def close(self) -> None:
        """Unloads and frees; no Server may be left that uses it."""
        if self._tls:
            self._c.tls_free(self._tls)
        self._tls = None


class Server:
    """The rows and threads of one process. Made after the fork; `timeout_ns` bounds a whole handshake.

    Raises LabFault where the file cannot be made (full disk, folder not writable).
    """

    def __init__(self, folder: Path, process: int, capacity: int, tls: Tls, timeout_ns: int) -> None:
        self._c = _functions()
        self._tls = tls
        error = ctypes.c_int()
        rows = folder / f"connections-{process}.rows"
        self._server = self._c.server_open(
            os.fsencode(rows), capacity, process, tls.address, timeout_ns, ctypes.byref(error)
        )
        if not self._server:
            raise LabFault(f"{rows}: {os.strerror(error.value)}")

    def listen(self, mode: Mode, sockets: Sequence[tuple[int, int]]) -> None:
        """Takes listening sockets, (file descriptor, host) each; they stay the caller's. Mode event: one thread."""
        descriptors = (ctypes.c_int * max(1, len(sockets)))(*(socket for socket, _ in sockets))
        hosts = (ctypes.c_uint32 * max(1, len(sockets)))(*(host for _, host in sockets))
        self._tls.renew_tickets()
        error = self._c.server_listen(self._server, _MODE[mode], descriptors, hosts, len(sockets))
        if error:
            raise LabFault(f"the server refuses its listeners: {os.strerror(error)}")

    def run(self, thread: int, most_connections: int = 0) -> int:
        """Serves in this thread, GIL released, until stop(), or until all threads together have had `most_connections`.

        Returns the connections of this thread. Raises LabFault where it cannot even begin.
        """
        served = int(self._c.server_run(self._server, thread, most_connections))
        if served < 0:
            raise LabFault(f"the server cannot serve: {os.strerror(-served)}")
        return served

    @property
    def starved(self) -> int:
        """How often no open file was left for a connection that was to be accepted."""
        return int(self._c.server_starved(self._server))

    def stop(self) -> None:
        """From another thread: no connection is accepted any more; handshakes under way go on to their end."""
        self._c.server_stop(self._server)

    def close(self) -> None:
        """After all threads have returned from run()."""
        if self._server:
            self._c.server_close(self._server)
        self._server = None
