"""The native code under ThreadSanitizer and under AddressSanitizer with UBSan, in threads and in forked processes.

Another library of lab/native joins by a line in LIBRARIES; a program that drives it by a line in PROGRAMS.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from lab.record.dtypes import CONNECTION, ENDED, OPERATION
from lab.record.rowfile import read_rows
from tests.native.build import SOURCES, TESTS, compile_c
from tests.native.recorded import read_folder

LIBRARIES: Final = {"tap": SOURCES / "tap.c", "fake": TESTS / "fake_module.c"}
PROGRAMS: Final = {"stress": TESTS / "stress.c", "drive_stress": TESTS / "drive_stress.c"}
SERVER: Final = tuple(
    SOURCES / f"{name}.c" for name in ("serve", "serve_event", "tls_context", "tls_bridge", "tls_key", "tls_operations")
)

SANITIZERS: Final = {
    "thread": ("-fsanitize=thread",),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"),
}
OPTIONS: Final = {
    # TSan refuses to go on after a fork of a process with threads unless told that this is meant
    "TSAN_OPTIONS": "die_after_fork=0:halt_on_error=0:exitcode=66",
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=66",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=66",
}
FOUND: Final = 66
MODES: Final = ("threads", "prefork", "fork-busy", "nested", "fork-inside", "loading-race", "fork-while-loading")
DRIVE_MODES: Final = ("threads", "prefork", "pool")
SERVE_MODES: Final = ("threads", "event", "prefork")

# What rows.h would be with an ordinary counter of rows.
RACY: Final = """
#define _GNU_SOURCE
#include <stdatomic.h>
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(object, operand, order) \\
    ({ unsigned long had = *(volatile unsigned long *)(object); *(volatile unsigned long *)(object) += operand; had; })
"""

# What drive.c would be with a pool that nobody locks. Counts may be lost then, so nobody waits for them either.
UNLOCKED: Final = """
#define _GNU_SOURCE
#include <pthread.h>
#define pthread_mutex_lock(mutex) ((void)0)
#define pthread_mutex_unlock(mutex) ((void)0)
#define pthread_cond_wait(condition, mutex) ((void)0)
"""


@dataclass(frozen=True)
class Instrumented:
    """All libraries and programs, built for one sanitizer."""

    folder: Path

    def run(
        self, mode: str, rows: Path, *, program: str = "stress", halt_on_error: bool = False
    ) -> subprocess.CompletedProcess[str]:
        tap, fake = str(self.folder / "tap.so"), str(self.folder / "fake.so")
        environment = os.environ | OPTIONS | {"LAB_TAP_MODULE": fake, "LAB_TAP_DIR": str(rows), "LAB_TAP_INIT": "a=1"}
        if halt_on_error:
            environment["TSAN_OPTIONS"] = OPTIONS["TSAN_OPTIONS"].replace("halt_on_error=0", "halt_on_error=1")
        command = [str(self.folder / program), tap, fake, mode, "4", "200"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)

    def serve(self, mode: str, rows: Path, *, halt_on_error: bool = False) -> subprocess.CompletedProcess[str]:
        environment = os.environ | OPTIONS
        if halt_on_error:
            environment["TSAN_OPTIONS"] = OPTIONS["TSAN_OPTIONS"].replace("halt_on_error=0", "halt_on_error=1")
        command = [str(self.folder / "serve_stress"), str(self.folder / "fake.so"), str(rows), mode, "4", "24"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


def build_server(folder: Path, *flags: str) -> Instrumented:
    compile_c(folder / "fake.so", LIBRARIES["fake"], flags=flags)
    program, libraries = folder / "serve_stress", ("ssl", "crypto")
    compile_c(program, TESTS / "serve_stress.c", *SERVER, flags=flags, libraries=libraries, shared=False)
    return Instrumented(folder)


def build(folder: Path, *flags: str, programs: tuple[str, ...] = tuple(PROGRAMS)) -> Instrumented:
    for name, source in LIBRARIES.items():
        compile_c(folder / f"{name}.so", source, flags=flags)
    for name in programs:
        compile_c(folder / name, PROGRAMS[name], flags=flags, shared=False)
    return Instrumented(folder)


@pytest.fixture(scope="module", params=SANITIZERS)
def instrumented(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Instrumented:
    return build(tmp_path_factory.mktemp(request.param), *SANITIZERS[request.param])


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_found_and_every_call_is_counted(instrumented: Instrumented, mode: str, tmp_path: Path) -> None:
    done = instrumented.run(mode, tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0
    calls = {int(pid): int(count) for pid, count in re.findall(r"^(\d+) (\d+)$", done.stdout, re.MULTILINE)}
    assert {pid: len(file.rows) for pid, file in read_folder(tmp_path).items()} == calls


@pytest.mark.parametrize("mode", DRIVE_MODES)
def test_the_loops_before_the_tap_are_clean_and_nothing_is_lost(
    instrumented: Instrumented, mode: str, tmp_path: Path
) -> None:
    done = instrumented.run(mode, tmp_path, program="drive_stress")
    assert done.stderr == ""
    assert done.returncode == 0
    calls = {int(pid): int(count) for pid, count in re.findall(r"^(\d+) (\d+)$", done.stdout, re.MULTILINE)}
    assert {pid: len(file.rows) for pid, file in read_folder(tmp_path).items()} == calls
    begun = dict(re.findall(r"^operations (\S+) (\d+)$", done.stdout, re.MULTILINE))
    files = {path.name: read_rows(path, OPERATION) for path in tmp_path.glob("operations-*.rows")}
    assert {name: str(len(file.rows)) for name, file in files.items() if file} == begun
    assert all((file.rows["state"] == ENDED).all() and file.lost == 0 for file in files.values() if file)


@pytest.fixture(scope="module", params=SANITIZERS)
def instrumented_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Instrumented:
    return build_server(tmp_path_factory.mktemp(request.param), *SANITIZERS[request.param])


@pytest.mark.parametrize("mode", SERVE_MODES)
def test_the_server_is_clean_and_every_connection_has_its_row(
    instrumented_server: Instrumented, mode: str, tmp_path: Path
) -> None:
    done = instrumented_server.serve(mode, tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0
    served = dict(re.findall(r"^connections (\S+) (\d+)$", done.stdout, re.MULTILINE))
    files = {path.name: read_rows(path, CONNECTION) for path in tmp_path.glob("connections-*.rows")}
    assert {name: str(len(file.rows)) for name, file in files.items() if file} == served
    assert sum(map(int, served.values())) > 0
    assert all((file.rows["state"] == ENDED).all() and file.lost == 0 for file in files.values() if file)


def test_a_server_without_locks_is_found(tmp_path: Path) -> None:
    unlocked = tmp_path / "unlocked.h"
    unlocked.write_text(UNLOCKED)
    rows = tmp_path / "rows"
    rows.mkdir()
    done = build_server(tmp_path, *SANITIZERS["thread"], "-include", str(unlocked)).serve(
        "threads", rows, halt_on_error=True
    )
    assert done.returncode == FOUND
    assert "ThreadSanitizer: data race" in done.stderr


def test_a_pool_that_is_not_locked_is_found(tmp_path: Path) -> None:
    unlocked = tmp_path / "unlocked.h"
    unlocked.write_text(UNLOCKED)
    rows = tmp_path / "rows"
    rows.mkdir()
    broken = build(tmp_path, *SANITIZERS["thread"], "-include", str(unlocked), programs=("drive_stress",))
    done = broken.run("pool", rows, program="drive_stress", halt_on_error=True)
    assert done.returncode == FOUND
    assert "ThreadSanitizer: data race" in done.stderr
    assert re.search("pool_take|pool_give", done.stderr)


def test_a_tap_that_hands_out_rows_without_atomics_is_found(tmp_path: Path) -> None:
    racy = tmp_path / "racy.h"
    racy.write_text(RACY)
    rows = tmp_path / "rows"
    rows.mkdir()
    done = build(tmp_path, *SANITIZERS["thread"], "-include", str(racy)).run("threads", rows)
    assert done.returncode == FOUND
    assert "ThreadSanitizer: data race" in done.stderr
    assert "rows_claim" in done.stderr


def test_a_buffer_that_is_shorter_than_its_caller_says_is_found(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.mkdir()
    done = build(tmp_path, *SANITIZERS["address"]).run("overrun", rows)
    assert done.returncode == FOUND
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
