"""Apache httpd with a ServerRoot of its own: its configuration for each multi-processing module, and how it is run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError
from lab.record.order import HostOrder, ServerOrder
from lab.scenario import Arm, Topology
from lab.servers import httpd_log, openssl
from lab.servers.model import ServerLog, ServerName, Site
from lab.servers.programs import find_program, version_of
from lab.servers.words import text_of

ERROR_LOG: Final = "error.log"
_MODULES: Final = (  # where mod_ssl.so lies; what is built in has no file
    Path("/usr/lib/apache2/modules"),  # Debian
    Path("/usr/lib64/httpd/modules"),  # Fedora
    Path("/usr/local/apache2/modules"),
)
_NEEDED: Final = ("authz_core", "ssl")
_READY: Final = "resuming normal operations"


class Httpd:
    """See lab.servers.model.Server."""

    name: ServerName = "httpd"

    def check(self, arm: Arm) -> None:
        """Its program, mod_ssl and the module of the arm's topology must be here."""
        self.version()  # whether it is httpd at all
        modules = _modules()
        assert arm.topology is not None  # resolved
        for name in (*_NEEDED, f"mpm_{arm.topology.kind}"):
            if not (modules / f"mod_{name}.so").is_file():
                raise ScenarioError(f"tls.server: httpd: {modules} has no mod_{name}.so; is apache2 whole?")

    def version(self) -> str:
        return version_of(self.name)

    def configure(self, site: Site) -> ServerOrder:
        assert site.arm.server is not None  # resolved
        assert site.arm.tls is not None
        conf = openssl.configure(site)
        file = site.folder / "httpd.conf"
        file.write_text("\n".join(_lines(site)) + "\n")
        foreground = site.arm.server.foreground
        reload_at_s, kill_at_s = site.arm.server.reload_at_s, site.arm.server.kill_at_s
        return ServerOrder(
            name=self.name,
            command=(
                *(str(find_program(self.name)), "-d", str(site.folder), "-f", str(file)),
                *(("-DFOREGROUND",) if foreground else ()),
            ),
            # TZ: its log has the time of a zone and does not name it
            environment={**site.environment, "OPENSSL_CONF": str(conf), "TZ": "UTC"},
            user=site.starts_as,
            foreground=foreground,
            pid_file=str(site.folder / "httpd.pid"),
            addresses=tuple(dict.fromkeys(host.address for host in site.hosts)),
            says_ready=(str(site.folder / ERROR_LOG), _READY),
            console=str(site.folder / "console.log"),
            logs=(str(site.folder / ERROR_LOG),),
            stop_signal=signal.SIGTERM,
            reload_signal=signal.SIGUSR1,
            reload_at_ns=None if reload_at_s is None else round(reload_at_s * 1e9),
            kill_at_ns=None if kill_at_s is None else round(kill_at_s * 1e9),
        )

    def read_log(self, folder: Path) -> ServerLog:
        path = folder / ERROR_LOG
        return httpd_log.read(text_of(path))


def _modules() -> Path:
    for folder in _MODULES:
        if (folder / "mod_ssl.so").is_file():
            return folder
    raise ScenarioError(
        "tls.server: httpd: mod_ssl.so is in no usual place; install the Debian package apache2 (apache2-bin has it)"
    )


def _lines(site: Site) -> Iterator[str]:
    arm, folder = site.arm, site.folder
    assert arm.topology is not None  # resolved
    yield f'ServerRoot "{folder}"'
    yield f'DefaultRuntimeDir "{folder}"'
    yield f'PidFile "{folder}/httpd.pid"'
    yield f"Mutex file:{folder}"  # of the kernel's kinds some outlive a server that is killed
    yield "ServerName localhost"
    for name in (f"mpm_{arm.topology.kind}", *_NEEDED):
        yield f"LoadModule {name}_module {_modules()}/mod_{name}.so"
    if site.user is not None and site.starts_as is None:
        yield f"User {site.user}"
        yield f"Group #{_group(site.user)}"
    yield f'ErrorLog "{folder}/{ERROR_LOG}"'
    yield "LogLevel notice ssl:debug"
    yield f'ErrorLogFormat "{httpd_log.FORMAT}"'
    yield from _population(arm.topology)
    for address in dict.fromkeys(host.address for host in site.hosts):
        yield f"Listen {address}:{site.port}"
    yield from _tls(site)
    for place, host in enumerate(site.hosts):
        yield from _host(site, place, host)


def _group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def _population(topology: Topology) -> Iterator[str]:
    """A population that neither grows nor shrinks with the load. It is never idle enough for httpd, which therefore
    replaces whoever ended, at the latest when it looks after its children, once in a second."""
    processes, threads = topology.processes, topology.threads
    yield f"StartServers {processes}"
    if topology.kind == "prefork":
        yield f"ServerLimit {processes}"
        yield f"MaxRequestWorkers {processes}"
        yield f"MinSpareServers {processes}"
        yield f"MaxSpareServers {processes + 1}"
    else:
        yield f"ServerLimit {2 * processes}"  # room for the new ones of a graceful restart beside the old
        yield f"ThreadLimit {threads}"
        yield f"ThreadsPerChild {threads}"
        yield f"MaxRequestWorkers {processes * threads}"
        yield f"MinSpareThreads {processes * threads}"
        yield f"MaxSpareThreads {(processes + 1) * threads}"
    yield f"MaxConnectionsPerChild {topology.connections_per_child or 0}"


def _tls(site: Site) -> Iterator[str]:
    tls = site.arm.tls
    assert tls is not None  # resolved
    if openssl.uses_engine(site):
        yield "SSLCryptoDevice pkcs11"
    yield "SSLSessionCache none"
    yield "SSLSessionTickets off"
    yield f"SSLProtocol -all +TLSv{tls.version}"
    if tls.ciphers is not None:
        yield f'SSLCipherSuite "{tls.ciphers}"'
    elif tls.key_exchange == "rsa":
        yield "SSLCipherSuite kRSA:!eNULL"


def _host(site: Site, place: int, host: HostOrder) -> Iterator[str]:
    certificate = site.folder / f"certificate-{place}.pem"
    certificate.write_text(host.certificate)
    if openssl.uses_engine(site):
        key = openssl.key_uri(site, host.key_label)
    else:
        key = str(openssl.key_file(site, host.key_label, site.folder / f"key-{place}.pem"))
    yield f"<VirtualHost {host.address}:{site.port}>"
    yield f"ServerName {host.name}"
    yield "SSLEngine on"
    yield f'SSLCertificateFile "{certificate}"'
    yield f'SSLCertificateKeyFile "{key}"'
    yield "</VirtualHost>"
