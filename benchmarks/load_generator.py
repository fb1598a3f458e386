"""What the generator of handshakes costs: full handshakes per second of its own processor time, against openssl s_time.

    python benchmarks/load_generator.py [--pairs 15] [--seconds 1] [--clients 8] [--servers plain,s_server]

`openssl s_time -new` and the lab's generator (generate.c, its two rows for each handshake included) take turns before
the same running server; their order changes from pair to pair. Servers: `plain` is benchmarks/load_generator.c, which
closes after the handshake as the lab's server does; `s_server` is `openssl s_server -quiet`, which waits for its
client's close_notify, so that the generator sends one. Time is user and system: of s_time's process, less what
`openssl version` takes to start and end; of the generator's thread during its load. s_time is spared the system's
trusted certificates, whose folder it would read twice for each connection in search of an issuer. Reported: the median
over pairs and the middle half. The last column is s_time of one pair against that of the pair before: noise alone.

tls-perf, which loads servers in the same way, is in no Debian package, and is not compared.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import MIN_PAIRS, spread, table  # noqa: E402  (a script: the checkout is on no path before)
from lab.native.generating import Generator, Greeting, Host, Rush  # noqa: E402
from lab.record.dtypes import OPERATION  # noqa: E402
from lab.record.rowfile import read_rows  # noqa: E402
from tests.native.build import compile_c  # noqa: E402

Version = Literal["1.2", "1.3"]
KEYS: Final = {"ec-p256": ("ec", "ec_paramgen_curve:P-256"), "rsa-2048": ("rsa", "rsa_keygen_bits:2048")}
VERSIONS: Final[tuple[Version, ...]] = ("1.3", "1.2")
S_TIME_VERSION: Final = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
NAME: Final = "host-0.lab.test"
ROWS: Final = 1 << 20
PATIENCE_NS: Final = 5_000_000_000
RESET_ON_CLOSE: Final = b"\1\0\0\0\0\0\0\0"


def make_credential(folder: Path, key: str) -> Path:
    """A key and a certificate that it signed itself, in one PEM file."""
    pem = folder / f"{key}.pem"
    algorithm, option = KEYS[key]
    made = ["-newkey", algorithm, "-pkeyopt", option, "-keyout", folder / "key", "-out", folder / "certificate"]
    command = ["openssl", "req", "-x509", "-nodes", "-subj", f"/CN={NAME}", *made]
    subprocess.run(command, check=True, capture_output=True)
    pem.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return pem


@contextmanager
def running(server: str, plain: Path, pem: Path) -> Iterator[int]:
    """The server, for as long as the block runs; gives its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = int(listener.getsockname()[1])
        passed = [listener.fileno()] if server == "plain" else []
        if server != "plain":
            listener.close()
        command = [plain, pem, str(listener.fileno())]
        if server == "s_server":
            command = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-cert", pem, "-key", pem]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=passed
        )
    try:
        until_it_listens(port)
        yield port
    finally:
        process.kill()
        process.wait()


def until_it_listens(port: int) -> None:
    while True:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)


def cpu_s(command: list[str]) -> tuple[float, str]:
    """Processor time of a program, and what it printed."""
    with tempfile.TemporaryDirectory() as empty:
        untrusting = os.environ | {"SSL_CERT_DIR": empty, "SSL_CERT_FILE": os.devnull}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=untrusting
        )
        assert process.stdout
        printed = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return used.ru_utime + used.ru_stime, printed


def s_time(port: int, version: Version, seconds: int) -> float:
    """Handshakes per second of processor time."""
    start_up_s, _ = cpu_s(["openssl", "version"])
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", str(seconds)]
    used_s, printed = cpu_s([*command, S_TIME_VERSION[version]])
    count = re.search(r"^(\d+) connections in \d+ real seconds", printed, re.MULTILINE)
    if not count:
        raise SystemExit(f"openssl s_time printed no number of connections: {printed}")
    return int(count[1]) / (used_s - start_up_s)


def generator(port: int, version: Version, seconds: int, clients: int, leaf: bytes, closes_first: bool) -> float:
    """Handshakes per second of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        one = Generator(Path(folder), 1, ROWS)
        one.set(Greeting((Host(NAME, "127.0.0.1", port, leaf),), version, closes_first=closes_first))
        one.prepare(clients)
        before = resource.getrusage(resource.RUSAGE_THREAD)
        now = time.monotonic_ns()
        one.run(Rush(now, 0, seconds * 1_000_000_000, now + seconds * 1_000_000_000 + PATIENCE_NS, clients))
        after = resource.getrusage(resource.RUSAGE_THREAD)
        one.close()
        file = read_rows(Path(folder) / "operations-1.rows", OPERATION)
        assert file is not None
        if file.rows["code"].any():
            raise SystemExit(f"{(file.rows['code'] > 0).sum()} handshakes of {len(file.rows)} failed")
        used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return len(file.rows) / used_s


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=MIN_PAIRS)
    parser.add_argument("--seconds", type=int, default=1, help="of one turn")
    parser.add_argument("--clients", type=int, default=8, help="connections of the generator; s_time has one")
    parser.add_argument("--servers", default="plain,s_server")
    parser.add_argument("--keys", default=",".join(KEYS))
    options = parser.parse_args()
    if options.pairs < MIN_PAIRS:
        parser.error(f"a median over fewer than {MIN_PAIRS} pairs says little")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = ROOT / "benchmarks" / "load_generator.c"
        plain = compile_c(folder / "plain", source, libraries=("ssl", "crypto"), shared=False)
        for key in options.keys.split(","):
            pem = make_credential(folder, key)
            leaf = ssl.PEM_cert_to_DER_cert((folder / "certificate").read_text())
            for version in VERSIONS:
                for server in options.servers.split(","):
                    with running(server, plain, pem) as port:

                        def ours(port: int = port, version: Version = version, server: str = server) -> float:
                            clients, first = options.clients, server == "s_server"
                            return generator(port, version, options.seconds, clients, leaf, first)  # noqa: B023

                        pairs = []
                        for pair in range(options.pairs):
                            mine = ours() if pair % 2 else 0.0
                            theirs = s_time(port, version, options.seconds)
                            pairs.append((theirs, mine or ours()))
                    noise = [after[0] / before[0] for before, after in pairwise(pairs)]
                    medians = [f"{statistics.median(column):,.0f}" for column in zip(*pairs, strict=True)]
                    ratio = spread([mine / theirs for theirs, mine in pairs])
                    rows.append([f"{key}, TLS {version}, {server}", *medians, ratio, spread(noise)])
                    print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    head = ["key, version, server", "s_time, 1/s", "generator, 1/s", "generator / s_time", "s_time / s_time"]
    print(table(head, rows))
    print(f"handshakes per second of processor time; {options.pairs} pairs of {options.seconds} s (middle half)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
