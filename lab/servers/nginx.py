"""nginx with a prefix of its own: its configuration, and how it is run.

Its workers are forks of the master that read the key, and each uses the token first at its first handshake.
"""

from __future__ import annotations

import grp
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError
from lab.record.order import HostOrder, ServerOrder
from lab.scenario import Arm
from lab.servers import nginx_log, openssl
from lab.servers.model import ServerLog, ServerName, Site
from lab.servers.programs import find_program, version_of
from lab.servers.words import text_of

CONFIGURATION: Final = "nginx.conf"
ERROR_LOG: Final = "error.log"
_READY: Final = "start worker process "  # the line with a worker's pid
_CONNECTIONS: Final = 4096  # of each worker; more than a trial has
_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_PATIENCE_S: Final = 10
_NEEDED: Final = ("--with-debug", "--with-http_ssl_module")


class Nginx:
    """See lab.servers.model.Server."""

    name: ServerName = "nginx"

    def check(self, arm: Arm) -> None:
        """Its program must be here, built with TLS and with a debugging log, which alone tells a client's port."""
        program = find_program(self.name)
        self.version()  # whether it is nginx at all
        done = subprocess.run(
            [program, "-V"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
        built = f"{done.stdout} {done.stderr}".split()
        for option in _NEEDED:
            if option not in built:
                raise ScenarioError(
                    f"tls.server: nginx: {program} was built without {option} (see nginx -V); take the Debian package "
                    "nginx, or set LAB_NGINX to the path of a build that has it"
                )

    def version(self) -> str:
        return version_of(self.name)

    def configure(self, site: Site) -> ServerOrder:
        assert site.arm.server is not None  # resolved
        conf = openssl.configure(site)
        # TZ: its log has the time of a zone and does not name it
        environment = {**site.environment, "OPENSSL_CONF": str(conf), "TZ": "UTC"}
        file = site.folder / CONFIGURATION
        file.write_text("\n".join(_lines(site, environment)) + "\n")
        error_log = str(site.folder / ERROR_LOG)
        reload_at_s, kill_at_s = site.arm.server.reload_at_s, site.arm.server.kill_at_s
        return ServerOrder(
            name=self.name,
            command=(str(find_program(self.name)), "-p", f"{site.folder}/", "-c", str(file), "-e", error_log),
            environment=environment,
            user=site.starts_as,
            foreground=site.arm.server.foreground,
            pid_file=str(site.folder / "nginx.pid"),
            addresses=tuple(dict.fromkeys(host.address for host in site.hosts)),
            says_ready=(error_log, _READY),
            console=str(site.folder / "console.log"),
            logs=(error_log,),
            stop_signal=signal.SIGTERM,
            reload_signal=signal.SIGHUP,
            reload_at_ns=None if reload_at_s is None else round(reload_at_s * 1e9),
            kill_at_ns=None if kill_at_s is None else round(kill_at_s * 1e9),
        )

    def read_log(self, folder: Path) -> ServerLog:
        path = folder / ERROR_LOG
        return nginx_log.read(text_of(path))


def _lines(site: Site, environment: dict[str, str]) -> Iterator[str]:
    arm, folder = site.arm, site.folder
    assert arm.topology is not None  # resolved
    assert arm.server is not None
    yield f"daemon {'off' if arm.server.foreground else 'on'};"
    if site.user is not None and site.starts_as is None:
        # without a group it takes the one that is called as the user, which need not be
        yield f"user {site.user} {grp.getgrgid(pwd.getpwnam(site.user).pw_gid).gr_name};"
    yield f"worker_processes {arm.topology.processes};"
    yield f'pid "{folder}/nginx.pid";'
    yield f'lock_file "{folder}/nginx.lock";'
    yield f'error_log "{folder}/{ERROR_LOG}" {nginx_log.LEVEL};'
    if arm.server.env_lines is not False:
        for name in environment:  # the values are inherited
            yield f"env {name};"
    if openssl.uses_engine(site):
        yield "ssl_engine pkcs11;"
    yield f"events {{ worker_connections {_CONNECTIONS}; }}"
    yield "http {"
    yield "access_log off;"  # it has requests, and the clients make none
    for name in _TEMPORARY:
        yield f'{name}_temp_path "{folder}/temporary-{name}";'
    yield from _tls(site)
    by_name: set[str] = set()
    for place, host in enumerate(site.hosts):
        yield from _host(site, place, host, first=host.address not in by_name)
        by_name.add(host.address)
    yield "}"


def _tls(site: Site) -> Iterator[str]:
    tls = site.arm.tls
    assert tls is not None  # resolved
    yield f"client_header_timeout {round(tls.timeout_s * 1e3)}ms;"  # of the handshake too
    yield f"ssl_protocols TLSv{tls.version};"
    if tls.ciphers is not None:
        yield f'ssl_ciphers "{tls.ciphers}";'
    elif tls.key_exchange == "rsa":
        yield 'ssl_ciphers "kRSA:!eNULL";'
    yield "ssl_session_cache off;"
    yield "ssl_session_tickets off;"


def _host(site: Site, place: int, host: HostOrder, first: bool) -> Iterator[str]:
    certificate = site.folder / f"certificate-{place}.pem"
    certificate.write_text(host.certificate)
    if openssl.uses_engine(site):
        key = f"engine:pkcs11:{openssl.key_uri(site, host.key_label)}"
    else:
        key = str(openssl.key_file(site, host.key_label, site.folder / f"key-{place}.pem"))
    yield "server {"
    yield f"listen {host.address}:{site.port} ssl{' default_server' if first else ''};"
    yield f"server_name {host.name};"
    yield f'ssl_certificate "{certificate}";'
    yield f'ssl_certificate_key "{key}";'
    yield "return 200;"
    yield "}"
