"""The broker under ThreadSanitizer and AddressSanitizer: clients that come and go at once, and one that is killed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from lab.process.beside import Beside
from lab.record.order import BesideOrder
from lab.tokens.p11kit import CLIENT, reached_at
from tests.broker_client import Client
from tests.native.build import SOURCES, compile_c
from tests.native.test_sanitizers import FOUND, LIBRARIES, OPTIONS, SANITIZERS

CLIENTS, ROUNDS = 4, 3

# What broker.c would be with a list that nobody locks.
UNLOCKED: Final = """
#define _GNU_SOURCE
#include <pthread.h>
#define pthread_mutex_lock(mutex) ((void)(mutex))
#define pthread_mutex_unlock(mutex) ((void)(mutex))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not as deep as pytest's own: a socket's path is short."""
    with tempfile.TemporaryDirectory(prefix="lab-test-") as name:
        yield Path(name)


def build(folder: Path, *flags: str) -> tuple[Path, Path]:
    module = compile_c(folder / "fake.so", LIBRARIES["fake"], flags=flags)
    return compile_c(folder / "broker", SOURCES / "broker.c", flags=flags, libraries=("p11-kit",), shared=False), module


def played(folder: Path, program: Path, module: Path, **options: str) -> tuple[int, str, list[str]]:
    """The broker's exit status and stderr after all clients have gone, and what the clients' calls gave."""
    socket, errors = folder / "socket", folder / "errors"
    order = BesideOrder((str(program), str(socket), str(module)), OPTIONS | options, None, str(socket))
    client_module = CLIENT.path("test")
    with open(errors, "wb") as file:
        spared = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            started = Beside.start(order)
        finally:
            os.dup2(spared, 2)
            os.close(spared)
    clients = [Client(client_module, reached_at(socket)) for _ in range(CLIENTS + 1)]
    try:
        for client in clients:
            client.begin(*(["many"] * ROUNDS))
        victim, *others = clients
        victim.answers(1)
        victim.kill()
        answers = [answer for client in others for answer in client.answers(ROUNDS)]
        for client in others:
            client.close()
    finally:
        for client in clients:
            client.process.kill()
    started.started.terminate()
    try:
        status = started.started.wait(20)
    except subprocess.TimeoutExpired:
        started.started.kill()
        status = started.started.wait()
    return status, errors.read_text(), answers


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_nothing_is_found_whoever_comes_and_goes(sanitizer: str, folder: Path) -> None:
    status, said, answers = played(folder, *build(folder, *SANITIZERS[sanitizer]))
    assert said == ""
    assert status == 0
    assert set(answers) == {"CKR_OK"}


def test_a_list_of_connections_that_nobody_locks_is_found(folder: Path) -> None:
    unlocked = folder / "unlocked.h"
    unlocked.write_text(UNLOCKED)
    built = build(folder, *SANITIZERS["thread"], "-include", str(unlocked))
    status, said, _ = played(folder, *built, TSAN_OPTIONS="halt_on_error=1:exitcode=66")
    assert "ThreadSanitizer: data race" in said
    assert status == FOUND
