"""The seam of real servers: what a server is configured from (Site), how it is run (ServerOrder), what its log tells.

A server is a Server. Nothing here starts a process: the trial root does that, from the ServerOrder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from lab.record.order import HostOrder, ServerOrder
from lab.scenario import Arm
from lab.tokens.model import Secret

ServerName = Literal["httpd", "nginx", "stunnel"]


@dataclass(frozen=True)
class Site:
    """All that a trial's server is made from."""

    arm: Arm
    folder: Path  # private, and the server's own: everything that it reads and writes lies there
    hosts: tuple[HostOrder, ...]
    port: int
    module: Path  # what the bridge is to load: the tap
    bridge_library: Path  # the engine or the provider
    token_label: str
    pin: Secret
    environment: Mapping[str, str] = field(repr=False)  # what every process that uses the token must have: token, tap
    user: str | None  # of its workers; None where the lab is not root, and all runs as the lab's user
    starts_as: str | None  # whom it is started as; None: as the lab


@dataclass(frozen=True)
class Entry:
    """One connection, as a server's log tells it. Times are CLOCK_REALTIME in ns, as exact as the log is."""

    pid: int  # 0: the log does not tell it, and the server serves in its master
    port: int  # TCP port of the client
    opened_ns: int
    ended_ns: int | None  # None: the log does not tell its end
    well: bool  # the handshake was completed
    tid: int | None = None  # kernel thread id; None where the log does not tell it
    exact: bool = True  # whether the times are good to well below a millisecond; many logs have whole seconds
    code: int = 0  # of a failure: OpenSSL's packed error code, 0 where the log has none
    ckr: int | None = None  # of a failure: the CKR code behind it, where the log tells it
    text: str = ""  # of a failure: what the log says of it
    alert: int | None = None  # of a failure: the TLS alert that ended it, where the log tells it
    alert_sent: bool = False  # whether the server sent that alert


@dataclass(frozen=True)
class ServerLog:
    """What a server's logs tell of a trial."""

    entries: tuple[Entry, ...] = ()
    crashes: Mapping[int, int] = field(default_factory=dict)  # signal that ended a process, by pid
    exits: Mapping[int, int] = field(default_factory=dict)  # exit status of a process, by pid, where it is told


class Server(Protocol):
    """One kind of real server."""

    @property
    def name(self) -> ServerName: ...

    def check(self, arm: Arm) -> None:
        """Raises ScenarioError where a part is missing, `tls.server: httpd: ...`, with the package that has it."""

    def version(self) -> str:
        """Such as "Apache/2.4.62 (Debian)", from the program itself."""

    def configure(self, site: Site) -> ServerOrder:
        """Writes its configuration into the site's folder and says how it is run. Files with a PIN are mode 0600."""

    def read_log(self, folder: Path) -> ServerLog:
        """What the logs in a site's folder tell, also where they were cut off."""
