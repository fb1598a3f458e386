"""The process of a generator, from its order to its last word."""

from __future__ import annotations

import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab import program
from lab.errors import LabFault
from lab.record.dtypes import CONNECTION, OPERATION, PHASE
from lab.record.order import HostOrder, IntrudersOrder, TlsOrder, TrialOrder
from lab.record.rowfile import read_rows
from lab.tokens.certificates import Authority
from lab.worker.channel import Channel, Message
from lab.worker.generator import first_der, greeting_of, slots_of
from tests.native.answering import NAME, Credential, credential, serving, shake

MS = 1_000_000
MANY = 100_000  # open files


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Credential:
    return credential(tmp_path_factory.mktemp("credential"))


def tls_order(port: int, certificate: str, **changes: object) -> TlsOrder:
    order = TlsOrder(
        server="lab",
        bridge="software",
        bridge_library=None,
        bridge_config=None,
        software_keys=(),
        version="1.3",
        key_exchange="ecdhe",
        ciphers=None,
        hosts=(HostOrder(NAME, "127.0.0.1", "ec-p256", certificate),),
        port=port,
        vhost_by="sni",
        resumption="off",
        ticket_key="",
        timeout_ns=5_000 * MS,
        trust=None,
        connections_per_child=0,
        generators=1,
        clients=4,
        intruders=IntrudersOrder(),
    )
    return replace(order, **changes)  # type: ignore[arg-type]


def trial_order(folder: Path, tls: TlsOrder | None, **changes: object) -> TrialOrder:
    order = TrialOrder(
        folder=str(folder),
        kind="prefork",
        processes=2,
        threads=1,
        fork_point="idle",
        busy_threads=0,
        start="herd",
        workload="handshake",
        driver="native",
        key="ec-p256",
        mechanism=None,
        token=None,
        context=None,
        open_loop=False,
        arrivals=(),
        warmup_ns=20 * MS,
        duration_ns=100 * MS,
        capacity=10_000,
        deadline_ns=time.monotonic_ns() + 60_000 * MS,
        seed=42688,
        tls=tls,
    )
    return replace(order, **changes)  # type: ignore[arg-type]


def pem(trusted: Credential) -> str:
    return ssl.DER_cert_to_PEM_cert(trusted.der)


@contextmanager
def spawned(order: TrialOrder, process: int) -> Iterator[tuple[Channel, subprocess.Popen[bytes]]]:
    ours, theirs = Channel.pair()
    command = program.command("lab.worker.generator", str(process), str(theirs.fileno()), str(os.getpid()))
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[theirs.fileno()], env=program.environment()
    )
    theirs.close()
    assert child.stdin
    with child.stdin as pipe:
        pipe.write(order.to_json().encode())
    try:
        yield ours, child
    finally:
        ours.close()
        child.kill()
        child.wait()
        if child.stderr:
            child.stderr.close()


def conduct(order: TrialOrder, process: int) -> Message:
    """Its whole life; returns what it said at the end of the load."""
    with spawned(order, process) as (channel, child):
        channel.send("begin")
        assert channel.wait_for("ready").failure is None
        channel.send("release", time.monotonic_ns() + 5 * MS)
        finished = channel.wait_for("finished")
        channel.send("leave")
        assert child.wait() == 0
        assert child.stderr
        assert child.stderr.read() == b""
    return finished


def test_a_closed_loop_goes_from_its_order_to_rows_and_says_what_it_cost(trusted: Credential, tmp_path: Path) -> None:
    with serving(shake(trusted.context())) as server:
        finished = conduct(trial_order(tmp_path, tls_order(server.port, pem(trusted))), 3)
    operations = read_rows(tmp_path / "operations-3.rows", OPERATION)
    connections = read_rows(tmp_path / "connections-3.rows", CONNECTION)
    assert operations is not None
    assert connections is not None
    assert len(operations.rows) == len(connections.rows) == server.accepted
    assert set(operations.rows["phase"].tolist()) == {PHASE["warmup"], PHASE["measured"]}
    assert not operations.rows["code"].any()
    assert 0 < finished.cpu_ns <= finished.busy_ns
    assert finished.busy_ns >= 120 * MS


def test_each_generator_has_its_own_part_of_the_arrivals(trusted: Credential, tmp_path: Path) -> None:
    np.array([1, 2, 3, 1 * MS, 2 * MS], "<i8").tofile(tmp_path / "arrivals.i64")
    with serving(shake(trusted.context())) as server:
        tls = tls_order(server.port, pem(trusted), generators=2)
        order = trial_order(tmp_path, tls, open_loop=True, arrivals=(3, 2))
        conduct(order, 4)
    file = read_rows(tmp_path / "operations-4.rows", OPERATION)
    assert file is not None
    assert np.diff(file.rows["intended_ns"]).tolist() == [1 * MS]


def test_no_arrivals_are_no_handshakes(trusted: Credential, tmp_path: Path) -> None:
    tls = tls_order(1, pem(trusted))
    conduct(trial_order(tmp_path, tls, open_loop=True, arrivals=(0,)), 3)
    file = read_rows(tmp_path / "operations-3.rows", OPERATION)
    assert file is not None
    assert len(file.rows) == 0


def test_intruders_are_the_first_generator_s_and_no_rows(trusted: Credential, tmp_path: Path) -> None:
    met: list[int] = []
    with serving(shake(trusted.context())) as server:
        tls = tls_order(server.port, pem(trusted), generators=2, clients=2, intruders=IntrudersOrder(2, 2, 2, 2))
        for process in (3, 4):
            before = server.accepted
            conduct(trial_order(tmp_path, tls), process)
            file = read_rows(tmp_path / f"operations-{process}.rows", OPERATION)
            assert file is not None
            assert not file.rows["code"].any()
            met.append(server.accepted - before - len(file.rows))
    assert met == [8, 0]


def test_clients_of_a_closed_loop_are_dealt_over_the_generators(trusted: Credential, tmp_path: Path) -> None:
    tls = tls_order(1, pem(trusted), generators=3, clients=8)
    assert [slots_of(trial_order(tmp_path, tls), tls, part, MANY) for part in range(3)] == [3, 3, 2]
    assert [slots_of(trial_order(tmp_path, tls, open_loop=True), tls, part, MANY) for part in range(3)] == [8, 8, 8]


def test_clients_that_cannot_all_have_a_file_are_a_fault_of_the_lab_and_arrivals_wait(
    trusted: Credential, tmp_path: Path
) -> None:
    tls = tls_order(1, pem(trusted), clients=300, intruders=IntrudersOrder(silent=100))
    assert slots_of(trial_order(tmp_path, tls, open_loop=True), tls, 0, most_files=400) < 300
    with pytest.raises(LabFault, match="400 open files are too few for 300 clients"):
        slots_of(trial_order(tmp_path, tls), tls, 0, most_files=400)


def test_a_server_of_others_is_verified_and_told_of_the_end(trusted: Credential) -> None:
    hosts = (HostOrder("www.lab.test", "www.lab.test", "", ""),)
    greeting = greeting_of(tls_order(443, "", server="external", bridge=None, hosts=hosts, trust="/ca.pem"))
    assert greeting.closes_first
    assert greeting.trust == "/ca.pem"
    assert greeting.hosts[0].certificate is None
    pinned = greeting_of(tls_order(443, pem(trusted), resumption="shared"))
    assert not pinned.closes_first
    assert pinned.resume
    assert pinned.hosts[0].certificate == trusted.der
    with pytest.raises(LabFault, match="no port"):
        greeting_of(tls_order(0, ""))


def test_a_fault_of_the_lab_is_said_and_is_no_success(trusted: Credential, tmp_path: Path) -> None:
    with spawned(trial_order(tmp_path / "missing", tls_order(1, pem(trusted))), 3) as (channel, child):
        channel.send("begin")
        assert child.wait() == os.EX_SOFTWARE
        assert child.stderr
        assert b"generator 3: " in child.stderr.read()


def test_a_generator_whose_root_is_gone_ends(trusted: Credential, tmp_path: Path) -> None:
    with spawned(trial_order(tmp_path, tls_order(1, pem(trusted))), 3) as (channel, child):
        channel.close()
        assert child.wait() == 1


@pytest.mark.parametrize("name", ["a", "ab", "abc"])  # of lengths whose base64 ends with and without padding
def test_the_first_certificate_of_a_chain_is_the_one_that_is_pinned(name: str) -> None:
    somebody = Authority()
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    leaf = somebody.leaf(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), [name])
    assert first_der(f"words before it\n{leaf}{somebody.pem}") == ssl.PEM_cert_to_DER_cert(leaf)
