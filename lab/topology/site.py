"""A trial's real server from the coordinator's side: the place it runs in, and what its logs tell afterwards."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.errors import LabFault
from lab.native import library
from lab.record import dtypes
from lab.record.model import ServerRecord
from lab.record.names import FUNCTION_NUMBER, ckr_name
from lab.record.order import ServerOrder, TlsOrder
from lab.record.rowfile import read_header, read_rows, write_connections
from lab.scenario import Arm
from lab.servers.connections import rows_by_pid
from lab.servers.kinds import server_of
from lab.servers.model import Server, ServerLog, Site
from lab.servers.words import last_words, text_of, without_pin, worth_keeping
from lab.tokens.bridges import library_for
from lab.tokens.handing_over import hand_over
from lab.tokens.model import Secret, TokenAccess
from lab.topology.watch import Seen, Watch

_PASSABLE: Final = 0o711
_ROOT: Final = 0
_TRIES: Final = 200
_FIRST_PORT, _PORTS = 20_000, 12_000  # below 32768, where net.ipv4.ip_local_port_range begins
_NS: Final = 1_000_000_000


@dataclass(frozen=True)
class RealServer:
    """One trial's: made ready by open_site(), told to the trial root as `order`."""

    server: Server
    site: Site
    order: ServerOrder
    version: str
    realtime_ns: int


def open_site(
    arm: Arm, access: TokenAccess, token: Path, tls: TlsOrder, private: Path, tap: Mapping[str, str]
) -> RealServer:
    """Writes the server's configuration into the trial's private folder, and hands over what it must be able to write.

    token: folder of the restored token. tap: environment of the tap. Raises ScenarioError or LabFault.
    """
    assert arm.server is not None  # resolved
    assert arm.tls is not None
    server = server_of(arm.tls.server)
    folder = private / arm.tls.server
    folder.mkdir()
    folder.chmod(_PASSABLE)
    for above in (private, private.parent):
        above.chmod(_PASSABLE)
    bridge_library = library_for(arm.tls)
    assert bridge_library is not None  # a real server has the engine or the provider
    user = arm.server.user if os.geteuid() == _ROOT else None
    starts_as = user if access.root_mounts else None
    site = Site(
        arm=arm,
        folder=folder,
        hosts=tls.hosts,
        port=tls.port,
        module=library("tap"),
        bridge_library=bridge_library,
        token_label=access.token_label,
        pin=access.pin,
        environment={**access.environment, **tap},
        user=user,
        starts_as=starts_as,
    )
    order = server.configure(site)
    if user is not None:
        hand_over(token, user)
    if starts_as is not None:
        hand_over(folder, starts_as)
    version, now = server.version(), time.time_ns() - time.monotonic_ns()
    return RealServer(server, site, order, version, now)


def free_port(addresses: Iterable[str]) -> int:
    """A TCP port that is free at all of these addresses now. Raises LabFault where none is found.

    It is not one of those that the kernel gives to whoever connects, or some client would have it before the server,
    and it is drawn, so that two labs on one machine are unlikely to want the same.
    """
    wanted = list(dict.fromkeys(addresses))
    for _ in range(_TRIES):
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        if all(_is_free(address, port) for address in wanted):
            return port
    raise LabFault(f"no port is free at all of {', '.join(wanted)}")


def _is_free(address: str, port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def refusal(real: RealServer, folder: Path) -> LabFault:
    """Why a server does not serve, in its own last words, and the token's where it let nobody in.

    pkcs11-provider keeps that to itself, and what a server then says is of keys that it cannot read.
    """
    words = last_words([Path(real.order.console), *map(Path, real.order.logs)], real.site.pin)
    said = "".join(f"; {answer}" for answer in _refused_logins(folder))
    return LabFault(f"{real.order.name} did not start: {words or 'it said nothing'}{said}")


def _refused_logins(folder: Path) -> list[str]:
    """What the token answered to calls of C_Login, other than that all is well."""
    files = (read_rows(path, dtypes.CALL) for path in sorted(folder.glob("calls-*.rows")))
    number = FUNCTION_NUMBER["C_Login"]
    rows = [row for file in files if file is not None for row in file.rows[file.rows["function"] == number]]
    answers = (ckr_name(int(row["ckr"])) for row in rows if row["state"] == dtypes.ENDED)
    fine = ("CKR_OK", "CKR_USER_ALREADY_LOGGED_IN")
    return list(dict.fromkeys(f"C_Login answered {answer}" for answer in answers if answer not in fine))


def take_in(real: RealServer, watch: Watch, folder: Path) -> tuple[ServerRecord, dict[int, str]]:
    """What its logs tell: rows of connections into the trial's folder, ends of processes into what the watch saw.

    The logs themselves, without the PIN and without what is in the rows, go to the trial's folder too. Call it when the
    tap's rows are there. Returns what is known of the server, and its log's words for OpenSSL's codes.
    """
    for path in (real.order.console, *real.order.logs):
        _keep(Path(path), folder, real.site.pin)
    log = _with_pids(real.server.read_log(real.site.folder), watch)
    _note_unseen(watch, folder, log)
    index_of = {seen.pid: seen.process for seen in watch.seen.values()}
    _note_ends(watch, log)
    _note_stuck(watch, log, real)
    clients = _clients(folder)
    for pid, rows in rows_by_pid(log.entries, clients, real.realtime_ns, _threads(folder)).items():
        if pid in index_of:
            write_connections(folder, index_of[pid], pid, rows)
    texts = {entry.code: without_pin(entry.text, real.site.pin) for entry in log.entries if entry.code and entry.text}
    record = ServerRecord(
        name=real.order.name,
        version=real.version,
        ready_ns=watch.listening_ns,
        realtime_ns=real.realtime_ns,
        reload_ns=watch.reloaded_ns,
        kill_ns=watch.killed_ns,
        killed=watch.killed,
    )
    return record, texts


def _with_pids(log: ServerLog, watch: Watch) -> ServerLog:
    """Entries of a server that is one process, and does not write which, are its master's."""
    masters = [seen.pid for seen in watch.seen.values() if seen.role == "master"]
    if not masters:
        return log
    return replace(log, entries=tuple(e if e.pid else replace(e, pid=masters[-1]) for e in log.entries))


def _keep(path: Path, folder: Path, pin: Secret) -> None:
    if text := text_of(path):
        (folder / f"server-{path.name}").write_text(worth_keeping(without_pin(text, pin)))


def _note_unseen(watch: Watch, folder: Path, log: ServerLog) -> None:
    """Processes of the server that lived too short to be seen: the tap, or the log, knows of them."""
    known = {seen.pid for seen in watch.seen.values()}
    servers = {seen.pid for seen in watch.seen.values() if seen.born_ns is not None}
    found: dict[int, tuple[int, int | None]] = {}  # pid -> when it was first heard of, and its parent
    for header in filter(None, map(read_header, folder.glob("calls-*.rows"))):
        pid, parent = int(header["pid"]), int(header["parent"])
        if pid not in known and parent in servers:
            found[pid] = (int(header["opened_ns"]), parent)
    for pid in {entry.pid for entry in log.entries} - known - found.keys() - {0}:
        found[pid] = (0, None)
    for pid, (at_ns, its_parent) in sorted(found.items(), key=lambda each: each[1][0]):
        process = 1 + max(watch.seen)
        watch.seen[process] = Seen(
            process, pid, None, role="worker", parent=its_parent, born_ns=at_ns or None, end="unknown"
        )


def _note_ends(watch: Watch, log: ServerLog) -> None:
    for seen in watch.seen.values():
        if seen.end not in (None, "unknown", "exit"):
            continue
        if log.crashes.get(seen.pid) == signal.SIGKILL:
            seen.end, seen.status = "hang", 0  # its master's last resort for one that does not end
        elif seen.pid in log.crashes:
            seen.end, seen.status = "signal", log.crashes[seen.pid]
        elif seen.pid in log.exits:
            seen.end, seen.status = "exit", log.exits[seen.pid]


def _note_stuck(watch: Watch, log: ServerLog, real: RealServer) -> None:
    """A process with a connection that it never ended, longer than any client waits: it hangs, or a thread of it does.

    How it ended tells nothing: httpd ends it with the rest, and nginx kills it.
    """
    assert real.site.arm.tls is not None  # resolved
    patience_ns = round(real.site.arm.tls.timeout_s * _NS)
    since_ns: dict[int, int] = {}  # CLOCK_MONOTONIC, by pid
    for entry in log.entries:
        if entry.ended_ns is None:
            since_ns.setdefault(entry.pid, entry.opened_ns - real.realtime_ns)
    for seen in watch.seen.values():
        if seen.pid not in since_ns or seen.gone_ns is None or seen.end not in ("exit", "unknown"):
            continue
        if seen.gone_ns - since_ns[seen.pid] > patience_ns:
            seen.end, seen.status = "hang", 0


def _clients(folder: Path) -> NDArray[Any]:
    files = (read_rows(path, dtypes.CONNECTION) for path in sorted(folder.glob("connections-*.rows")))
    rows = [file.rows[file.rows["side"] == dtypes.SIDE["client"]] for file in files if file is not None]
    return np.concatenate([np.empty(0, dtypes.CONNECTION), *rows])


def _threads(folder: Path) -> dict[int, set[int]]:
    """Kernel thread ids of the calls of each process."""
    found: dict[int, set[int]] = {}
    for path in folder.glob("calls-*.rows"):
        if (file := read_rows(path, dtypes.CALL)) is not None:
            found.setdefault(file.pid, set()).update(np.unique(file.rows["tid"]).tolist())
    return found
