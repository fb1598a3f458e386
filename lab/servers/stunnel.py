"""stunnel: its configuration, how it is run, and the backend that it passes connections on to.

One process has a thread for each connection. As a daemon it is a fork of the process that read the key.
"""

from __future__ import annotations

import grp
import math
import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab import program
from lab.record.order import BesideOrder, ServerOrder
from lab.scenario import Arm
from lab.servers import openssl, stunnel_log
from lab.servers.model import ServerLog, ServerName, Site
from lab.servers.programs import find_program, version_of
from lab.servers.words import text_of
from lab.tokens.handing_over import hand_over

CONFIGURATION: Final = "stunnel.conf"
LOGS: Final = "logs"
LOG: Final = "stunnel.log"
_BACKEND: Final = "backend.sock"
_FOR_GROUP: Final = 0o640
_READY: Final = "Accepting new connections"  # at `debug = 6`; "Configuration successful" comes before it listens


class Stunnel:
    """See lab.servers.model.Server."""

    name: ServerName = "stunnel"

    def check(self, arm: Arm) -> None:
        """Its program must be here, and be stunnel."""
        self.version()

    def version(self) -> str:
        return version_of(self.name)

    def configure(self, site: Site) -> ServerOrder:
        assert site.arm.server is not None  # resolved
        conf = openssl.configure(site)
        own = site.folder / LOGS  # the pid file and the log, which it makes as the user that it becomes
        own.mkdir()
        if site.user is not None:
            hand_over(own, site.user)
        file = site.folder / CONFIGURATION
        file.write_text("\n".join(_lines(site)) + "\n")
        backend = str(site.folder / _BACKEND)
        reload_at_s = site.arm.server.reload_at_s
        return ServerOrder(
            name=self.name,
            command=(str(find_program(self.name)), str(file)),
            # TZ: its log has the time of a zone and does not name it
            environment={**site.environment, "OPENSSL_CONF": str(conf), "TZ": "UTC"},
            user=site.starts_as,
            foreground=site.arm.server.foreground,
            pid_file=str(own / "stunnel.pid"),
            addresses=(site.hosts[0].address,),
            says_ready=(str(own / LOG), _READY),
            console=str(site.folder / "console.log"),
            logs=(str(own / LOG),),
            stop_signal=signal.SIGTERM,
            reload_signal=signal.SIGHUP,
            reload_at_ns=None if reload_at_s is None else round(reload_at_s * 1e9),
            kill_at_ns=None,  # it has no workers
            beside=(BesideOrder(tuple(program.command("lab.servers.backend", backend)), {}, None, backend),),
        )

    def read_log(self, folder: Path) -> ServerLog:
        path = folder / LOGS / LOG
        return stunnel_log.read(text_of(path))


def _key_file(site: Site, label: str) -> Path:
    """The provider's PEM, of which stunnel complains where everybody can read it, although it holds no secret."""
    path = openssl.key_file(site, label, site.folder / "key-0.pem")
    path.chmod(_FOR_GROUP)
    if site.user is not None:
        os.chown(path, -1, pwd.getpwnam(site.user).pw_gid)  # that user reads it at a reload
    return path


def _lines(site: Site) -> Iterator[str]:
    arm, folder = site.arm, site.folder
    assert arm.server is not None  # resolved
    assert arm.tls is not None
    (host,) = site.hosts
    yield f"foreground = {'quiet' if arm.server.foreground else 'no'}"  # yes: the log on stderr too
    yield f"pid = {folder}/{LOGS}/stunnel.pid"
    yield f"output = {folder}/{LOGS}/{LOG}"
    yield f"debug = {stunnel_log.LEVEL}"
    yield "syslog = no"
    if site.user is not None and site.starts_as is None:
        yield f"setuid = {site.user}"
        yield f"setgid = {grp.getgrgid(pwd.getpwnam(site.user).pw_gid).gr_name}"
    if openssl.uses_engine(site):
        yield "engine = pkcs11"  # what it needs to know stands in openssl.cnf
    certificate = folder / "certificate-0.pem"
    certificate.write_text(host.certificate)
    yield f"[{stunnel_log.SERVICE}]"
    yield f"accept = {host.address}:{site.port}"
    yield f"connect = {folder}/{_BACKEND}"
    yield f"cert = {certificate}"
    if openssl.uses_engine(site):
        yield "engineId = pkcs11"
        yield f"key = {openssl.key_uri(site, host.key_label)}"
    else:
        yield f"key = {_key_file(site, host.key_label)}"
    yield f"sslVersionMin = TLSv{arm.tls.version}"
    yield f"sslVersionMax = TLSv{arm.tls.version}"
    if arm.tls.ciphers is not None:
        yield f"ciphers = {arm.tls.ciphers}"
    elif arm.tls.key_exchange == "rsa":
        yield "ciphers = kRSA:!eNULL"
    yield "sessionResume = no"
    yield "sessionCacheSize = 1"  # 0 is no limit
    yield "options = NO_TICKET"
    yield "logId = thread"
    yield f"TIMEOUTbusy = {math.ceil(arm.tls.timeout_s)}"  # of the handshake too
