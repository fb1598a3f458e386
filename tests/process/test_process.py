"""What is asked of the kernel about processes and sockets."""

from __future__ import annotations

import os
import pwd
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.process.others import (
    born_ticks,
    descendants,
    involuntary_switches,
    listens,
    monotonic_ns,
    pss_kib,
    user_of,
)

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
NOBODY = 2**22 + 1  # no pid is as high (proc(5), pid_max)


@contextmanager
def sleeper(program: str = "print(flush=True)") -> Iterator[subprocess.Popen[str]]:
    """A process that has said something, and waits until it is killed."""
    command = [sys.executable, "-c", f"import os, signal, threading\n{program}\nsignal.pause()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_descendants_are_children_and_their_children_with_their_parents() -> None:
    program = (
        "r, w = os.pipe()\nchild = os.fork()\nif not child:\n    grandchild = os.fork()\n"
        "    if grandchild:\n        os.write(w, str(grandchild).encode())\n    signal.pause()\n"
        "print(child, os.read(r, 20).decode(), flush=True)"
    )
    with sleeper(program) as process:
        child, grandchild = map(int, said(process).split())
        try:
            assert descendants(process.pid) == {child: process.pid, grandchild: child}
            assert descendants(os.getpid()).items() >= {process.pid: os.getpid(), grandchild: child}.items()
        finally:
            for pid in (grandchild, child):
                os.kill(pid, signal.SIGKILL)


def test_a_child_of_another_thread_is_a_child() -> None:
    pids: list[int] = []
    ended = threading.Event()

    def bear() -> None:
        with sleeper() as process:
            said(process)
            pids.append(process.pid)
            ended.wait()

    thread = threading.Thread(target=bear)
    thread.start()
    try:
        while not pids:
            thread.join(0.01)
            assert thread.is_alive()
        assert descendants(os.getpid())[pids[0]] == os.getpid()
    finally:
        ended.set()
        thread.join()


def test_one_that_has_ended_and_is_not_reaped_is_still_there() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        assert pid in descendants(os.getpid())
    finally:
        os.waitpid(pid, 0)
    assert pid not in descendants(os.getpid())


def test_nobody_has_no_descendants_no_birth_and_no_memory() -> None:
    assert descendants(NOBODY) == {}
    assert born_ticks(NOBODY) is None
    assert pss_kib(NOBODY) is None
    assert involuntary_switches(NOBODY) is None


def test_switches_of_all_threads_are_counted_and_never_become_fewer() -> None:
    first = involuntary_switches(os.getpid())
    assert first is not None
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    assert mine >= first  # of threads that have ended too
    assert (involuntary_switches(os.getpid()) or 0) >= first


def test_a_birth_is_dated_on_our_clock_to_a_tick() -> None:
    before_ns = time.monotonic_ns()
    with sleeper() as process:
        after_ns = time.monotonic_ns()
        said(process)
        born = born_ticks(process.pid)
        assert born is not None
        assert before_ns - 2 * TICK_NS <= monotonic_ns(born) <= after_ns + TICK_NS


def test_a_name_with_spaces_and_brackets_does_not_move_the_date() -> None:
    with sleeper("open('/proc/self/comm', 'w').write('a) 1 (b')\nprint(flush=True)") as process:
        said(process)
        born = born_ticks(process.pid)
        assert born is not None
        assert abs(time.monotonic_ns() - monotonic_ns(born)) < 60_000_000_000


def test_a_listener_is_found_at_its_address_and_port_alone() -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        assert listens("127.0.0.2", port)
        assert not listens("127.0.0.1", port)
        assert not listens("127.0.0.2", port - 1 if port > 1 else port + 1)
    assert not listens("127.0.0.2", port)


def test_a_listener_anywhere_listens_at_each_address() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        assert listens("127.0.0.7", listener.getsockname()[1])


def test_a_socket_that_is_bound_or_connected_does_not_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert not listens("127.0.0.1", bound.getsockname()[1])
        with socket.create_connection(listener.getsockname()) as client:
            assert not listens("127.0.0.1", client.getsockname()[1])


def test_looking_for_a_listener_makes_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listens("127.0.0.1", listener.getsockname()[1])
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_memory_of_a_process_is_some_kib() -> None:
    found = pss_kib(os.getpid())
    assert found is not None
    assert 1_000 < found < 10_000_000


def test_a_user_is_named_with_its_groups_and_no_user_changes_nothing() -> None:
    nobody = pwd.getpwnam("nobody")
    assert user_of("nobody") == {
        "user": "nobody",
        "group": nobody.pw_gid,
        "extra_groups": os.getgrouplist("nobody", nobody.pw_gid),
    }
    assert user_of(None) == {}
