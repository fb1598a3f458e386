"""Sites of real servers with a SoftHSM token, and servers that are started from their ServerOrder, as a trial does."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lab import scenario
from lab.process.beside import start_all
from lab.process.others import listens, user_of
from lab.record.order import HostOrder, ServerOrder
from lab.scenario import Arm
from lab.servers.model import Server, Site
from lab.tokens.bridges import library_for
from lab.tokens.certificates import Authority
from lab.tokens.handing_over import hand_over
from lab.tokens.model import Prepared, Secret, TokenAccess
from lab.topology.hosts import host_addresses, host_names
from lab.topology.site import free_port

PATIENCE_S = 20.0
LOOK_AGAIN_S = 0.02
PASSABLE = 0o711
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
PIN = "0123456789abcdef"


def arm_of(server: str, *overrides: str) -> Arm:
    """The arm of a handshake scenario of a real server. overrides: as of `run --set`."""
    text = (
        'name = "site"\nquestion = "?"\n[workload]\nkind = "handshake"\nkey = "ec-p256"\n'
        f'[load]\nrate_hz = 10\nduration_s = 1\n[tls]\nserver = "{server}"\n'
    )
    return scenario.parse(text, "site.toml", overrides).arms[0]


def imagined(arm: Arm, folder: Path, user: str | None = None, starts_as: str | None = None) -> Site:
    """A site without a token, for its configuration's text alone."""
    assert arm.tls is not None
    hosts = [
        HostOrder(name, address, f"ec-p256-{place}", f"certificate of {name}\n")
        for place, (name, address) in enumerate(zip(host_names(arm.tls), host_addresses(arm.tls), strict=True))
    ]
    return Site(
        arm=arm,
        folder=folder,
        hosts=tuple(hosts),
        port=4433,
        module=Path("/lab/tap.so"),
        bridge_library=Path("/usr/lib/pkcs11.so"),
        token_label="lab",
        pin=Secret(PIN),
        environment={"SOFTHSM2_CONF": "/t/softhsm2.conf", "LAB_TAP_KEY": "00ff"},
        user=user,
        starts_as=starts_as,
    )


def real(arm: Arm, access: TokenAccess, prepared: Prepared, folder: Path) -> Site:
    """A site whose token is there; as root its workers are www-data's, and own the token."""
    assert arm.tls is not None
    library = library_for(arm.tls)
    assert library is not None
    user = "www-data" if os.geteuid() == 0 else None
    folder.chmod(PASSABLE)
    if user is not None:
        hand_over(Path(access.environment["SOFTHSM2_CONF"]).parent, user)
    keys = [prepared.keys[name] for name in sorted(prepared.keys)][: arm.tls.vhosts]
    authority = Authority()
    names, addresses = host_names(arm.tls), host_addresses(arm.tls)
    hosts = tuple(
        HostOrder(name, address, key.label, authority.leaf(key.public_pem, [name], [address]))
        for name, address, key in zip(names, addresses, keys, strict=True)
    )
    return replace(
        imagined(arm, folder),
        hosts=hosts,
        port=free_port(addresses),
        module=access.module,
        bridge_library=library,
        token_label=access.token_label,
        pin=access.pin,
        environment=access.environment,
        user=user,
    )


@dataclass
class Running:
    """A server that serves."""

    site: Site
    order: ServerOrder
    pid: int  # of its master

    def connect(self, place: int = 0, version: str = "1.3", finish: bool = True) -> tuple[int, bytes]:
        """One handshake: the client's port and the certificate (DER). finish=False: it leaves in the middle."""
        host = self.site.hosts[place]
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = VERSIONS[version]
        with socket.create_connection((host.address, self.site.port), timeout=PATIENCE_S) as plain:
            port: int = plain.getsockname()[1]
            if not finish:
                plain.sendall(b"\x16\x03\x01")
                return port, b""
            with context.wrap_socket(plain, server_hostname=host.name) as connection:
                return port, connection.getpeercert(binary_form=True) or b""


class DidNotStart(Exception):
    """It ended before it served."""


@contextlib.contextmanager
def running(server: Server, site: Site) -> Iterator[Running]:
    """The server from its order, as lab.worker.real_server starts it; ended at the end, by its own signal."""
    order = server.configure(site)
    with contextlib.ExitStack() as ends:
        for each in start_all(order.beside):
            ends.callback(each.end)
        with open(order.console, "ab") as console:
            started = subprocess.Popen(
                order.command,
                env={**os.environ, **order.environment},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                **user_of(order.user),
            )
        ends.callback(started.wait, PATIENCE_S)
        serving = Running(site, order, _await(order, site, started))
        ends.callback(_end, order, serving.pid)
        yield serving


def _await(order: ServerOrder, site: Site, started: subprocess.Popen[bytes]) -> int:
    """The pid of its master, when it serves."""
    until_s = time.monotonic() + PATIENCE_S
    while not (_says_ready(order) and all(listens(address, site.port) for address in order.addresses)):
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = started.wait(LOOK_AGAIN_S)
            if order.foreground or status:
                raise DidNotStart(f"{order.name} ended with {status}")
        assert time.monotonic() < until_s
    return started.pid if order.foreground else int(Path(order.pid_file).read_text())


def _says_ready(order: ServerOrder) -> bool:
    path, text = Path(order.says_ready[0]), order.says_ready[1]
    return path.is_file() and text in path.read_text(errors="replace")


def _end(order: ServerOrder, pid: int) -> None:
    """Asks the master to end, and waits until it has; a daemon is nobody's child here."""
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, order.stop_signal)
        assert select.select([handle], [], [], PATIENCE_S)[0]
    finally:
        os.close(handle)


def await_text(path: Path, text: str, times: int = 1) -> None:
    """Waits until a file has a text so many times."""
    until_s = time.monotonic() + PATIENCE_S
    while path.read_text(errors="replace").count(text) < times:
        assert time.monotonic() < until_s, path.read_text(errors="replace")
        time.sleep(LOOK_AGAIN_S)  # a file tells nobody that it has grown
