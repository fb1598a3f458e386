"""The lab's prefork server against Apache httpd's prefork: handshakes per second with the same token, key and bridge.

    python benchmarks/server_cost.py [--pairs 15] [--seconds 1] [--clients 8] [--processes 8]

Both servers reach one SoftHSM token through libp11's engine, made before the fork, and have the same number of
processes; neither resumes sessions nor sends tickets. The lab's generator loads them in turn, in a closed loop that
closes first, as servers that are not the lab's need it; their order changes from pair to pair, and the server whose
turn it is not waits in accept. Handshakes per second are by the clock, and the generator runs on the same machine: it
takes as much from one as from the other. Reported: the median over pairs and the middle half; "lab / lab" is
the lab's server of one pair against that of the pair before, what noise alone does. The last columns divide by the
processor time of the server's children instead, which other work on the machine disturbs less.

httpd has a configuration of its own in a temporary folder, and needs the Debian packages apache2 and
libengine-pkcs11-openssl. Started by root, its children are www-data, and the token is theirs. The PIN of the throw-away
token is in a file of that folder which only its owner may read, since httpd has no other way to be told it.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.handshaking import (  # noqa: E402  (a script: the checkout is on no path before)
    LOOPBACK,
    NAME,
    Version,
    generate,
    lab_server,
    until_it_listens,
)
from benchmarks.paired import MIN_PAIRS, spread, table  # noqa: E402
from lab.tokens.bridges import library_of  # noqa: E402
from lab.tokens.certificates import Authority  # noqa: E402
from lab.tokens.model import TokenAccess  # noqa: E402
from lab.tokens.softhsm import SoftHsm  # noqa: E402

KEYS: Final = ("ec-p256", "rsa-2048")
MODULES: Final = Path("/usr/lib/apache2/modules")
USER: Final = "www-data"
FIRST_LOAD_S: Final = 0.3  # in which every child has found its key again

CONFIGURATION: Final = """\
ServerRoot {folder}
ServerName {name}
PidFile {folder}/pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
LogLevel warn
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
{user}
Listen {address}:{port}
ListenBacklog 4096
StartServers {processes}
MinSpareServers {processes}
MaxSpareServers {more}
ServerLimit {processes}
MaxRequestWorkers {processes}
MaxConnectionsPerChild 0
KeepAlive Off
SSLCryptoDevice pkcs11
SSLSessionCache none
SSLRandomSeed startup builtin
<VirtualHost {address}:{port}>
ServerName {name}
SSLEngine on
SSLProtocol -all +TLSv{version}
SSLSessionTickets off
SSLOpenSSLConfCmd NumTickets 0
SSLCertificateFile {folder}/certificate.pem
SSLCertificateKeyFile "{uri}"
</VirtualHost>
"""


@dataclass(frozen=True)
class Settings:
    """Of a SoftHSM token (lab.tokens.model.TokenSettings): everything as it is by default."""

    kind: str = "softhsm"
    reset_on_fork: bool | None = False
    path: str | None = None
    token_label: str | None = None
    pin_env: str | None = None
    pin_file: str | None = None
    key_label: str | None = None
    init_string: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    provision: bool | None = None


@dataclass(frozen=True)
class Site:
    """What both servers serve, and by how many processes."""

    access: TokenAccess
    certificate: str
    version: Version
    processes: int

    @property
    def uri(self) -> str:
        """Of the private key, with its PIN: a server has nobody to ask."""
        token, key, pin = self.access.token_label, self.access.key_label, self.access.pin.reveal()
        return f"pkcs11:token={token};object={key};type=private?pin-value={pin}"

    @property
    def environment(self) -> dict[str, str]:
        """Of both servers: what libp11 and SoftHSM look at."""
        return {**self.access.environment, "PKCS11_MODULE_PATH": str(self.access.module)}


def free_port() -> int:
    """httpd opens its own socket: nobody else is likely to take this one before."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


def hand_over(folder: Path) -> None:
    """Lets httpd's children write the token; for root, who may write everything anyway, nothing changes."""
    if os.getuid() == 0:
        shutil.chown(folder, USER)
        for path in folder.rglob("*"):
            shutil.chown(path, USER)


def children_of(pid: int, count: int) -> list[int]:
    """As soon as it has so many."""
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(children) >= count:
            return [int(child) for child in children]
        time.sleep(0.01)


def cpu_s(pids: list[int]) -> float:
    """Processor time of processes of one thread."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


@contextmanager
def httpd(folder: Path, site: Site) -> Iterator[tuple[int, list[int]]]:
    """Apache httpd for as long as the block runs; gives its port and its children's process ids."""
    folder.mkdir()
    port = free_port()
    user = f"User {USER}\nGroup {USER}" if os.getuid() == 0 else ""  # mod_unixd is built in, on Debian
    (folder / "certificate.pem").write_text(site.certificate)
    configuration = folder / "httpd.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder,
            name=NAME,
            modules=MODULES,
            user=user,
            address=LOOPBACK,
            port=port,
            processes=site.processes,
            more=site.processes + 1,
            version=site.version,
            uri=site.uri,
        )
    )
    command = ["apache2", "-d", str(folder), "-f", str(configuration), "-D", "FOREGROUND"]
    # A session of its own: httpd signals all of its process group when it ends.
    process = subprocess.Popen(command, env=os.environ | site.environment, start_new_session=True)
    try:
        until_it_listens(port)
        yield port, children_of(process.pid, site.processes)
    except SystemExit:
        log = folder / "error.log"
        print(log.read_text() if log.exists() else "", file=sys.stderr)
        raise
    finally:
        process.terminate()  # httpd ends its children before it ends
        process.wait()


def compare(folder: Path, site: Site, pairs: int, seconds: float, clients: int) -> list[tuple[float, ...]]:
    """Handshakes per second of httpd and of the lab's server, then per second of the servers' processor time."""
    leaf = ssl.PEM_cert_to_DER_cert(site.certificate)
    bridge = {"bridge": "engine", "version": site.version, "library": str(library_of("engine"))}
    what = {**bridge, "module": str(site.access.module), "key": site.uri, "certificate": site.certificate}
    (folder / "lab").mkdir()
    with (
        lab_server(folder / "lab", site.processes, what, site.environment) as ours,
        httpd(folder / "httpd", site) as theirs,
    ):

        def rates(server: tuple[int, list[int]], for_s: float = seconds) -> tuple[float, float]:
            port, pids = server
            before = cpu_s(pids)
            seen = generate(port, leaf, for_s, clients, version=site.version, closes_first=True)
            return seen.rate_hz(for_s), len(seen.operations) / (cpu_s(pids) - before)

        for server in (ours, theirs):
            rates(server, FIRST_LOAD_S)
        measured: list[tuple[float, ...]] = []
        for pair in range(pairs):
            first = rates(ours) if pair % 2 else None
            apache = rates(theirs)
            lab = first or rates(ours)
            measured.append((apache[0], lab[0], apache[1], lab[1]))
        return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=MIN_PAIRS)
    parser.add_argument("--seconds", type=float, default=1, help="of one turn")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--processes", type=int, default=8, help="of each server")
    parser.add_argument("--keys", default=",".join(KEYS))
    parser.add_argument("--versions", default="1.3")
    options = parser.parse_args()
    if options.pairs < MIN_PAIRS:
        parser.error(f"a median over fewer than {MIN_PAIRS} pairs says little")
    if not shutil.which("apache2") or (os.getuid() == 0 and USER not in {user.pw_name for user in pwd.getpwall()}):
        parser.error("Apache httpd is not installed: install the Debian package apache2")
    rows = []
    for key in options.keys.split(","):
        for version in options.versions.split(","):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                folder.chmod(0o711)  # for www-data, who has to reach the token
                token = SoftHsm(Settings())
                made = token.prepare(frozenset({key}), folder / "golden")
                access = token.restore(folder / "token", key)
                hand_over(folder / "token")
                certificate = Authority().leaf(made.keys[key].public_pem, [NAME], [LOOPBACK])
                site = Site(access, certificate, version, options.processes)
                measured = compare(folder, site, options.pairs, options.seconds, options.clients)
                token.retire()
            noise = [after[1] / before[1] for before, after in pairwise(measured)]
            medians = [f"{statistics.median(column):,.0f}" for column in zip(*measured, strict=True)]
            by_clock = spread([lab / apache for apache, lab, _, _ in measured])
            by_cpu = spread([lab / apache for _, _, apache, lab in measured])
            rows.append([f"{key}, TLS {version}", *medians[:2], by_clock, spread(noise), *medians[2:], by_cpu])
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    head = ["httpd, 1/s", "lab, 1/s", "lab / httpd", "lab / lab", "httpd, 1/cpu s", "lab, 1/cpu s", "lab / httpd"]
    print(table(["key, version", *head], rows))
    print(
        f"handshakes per second, {options.processes} processes, {options.clients} clients; "
        f"{options.pairs} pairs of {options.seconds:g} s (middle half)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
