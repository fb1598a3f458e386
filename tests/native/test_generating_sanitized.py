"""The generator of handshakes under the sanitizers, and stopped by another thread."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from lab.record.dtypes import CONNECTION, ENDED, OPERATION
from lab.record.rowfile import read_rows
from tests.native.answering import credential
from tests.native.build import SOURCES, TESTS, compile_c
from tests.native.test_sanitizers import FOUND, OPTIONS, SANITIZERS

OPENSSL = ("ssl", "crypto")
GENERATOR = tuple(SOURCES / f"{name}.c" for name in ("generate", "generate_handshake", "generate_tls"))

# What generate.c would be with an ordinary flag that stops it.
RACY = """
#define _GNU_SOURCE
#include <stdatomic.h>
#undef atomic_store
#define atomic_store(object, value) (*(volatile __typeof__(*(object) + 0) *)(object) = (value))
"""


def build(folder: Path, flags: tuple[str, ...]) -> Path:
    stress = TESTS / "generate_stress.c"
    return compile_c(folder / "stress", stress, *GENERATOR, flags=flags, libraries=OPENSSL, shared=False)


def run(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    rows = folder / "rows"
    rows.mkdir()
    command = [program, credential(folder).pem, rows]
    return subprocess.run(command, env=os.environ | OPTIONS, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_nothing_is_found_and_every_handshake_has_its_rows(sanitizer: str, tmp_path: Path) -> None:
    flags = SANITIZERS[sanitizer]
    done = run(build(tmp_path, flags), tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0
    begun = re.findall(r"^(\d+) (\d+)$", done.stdout, re.MULTILINE)
    assert len(begun) == 8
    for process, count in begun:
        for what, dtype in (("operations", OPERATION), ("connections", CONNECTION)):
            file = read_rows(tmp_path / "rows" / f"{what}-{process}.rows", dtype)
            assert file is not None
            assert len(file.rows) == int(count)
            assert (file.rows["state"] == ENDED).all()
            assert len(set(file.rows["code"].tolist())) > 2  # well, wrong certificate, closed or no answer
        full = file.rows[(file.rows["code"] == 0) & (file.rows["resumed"] == 0)]
        assert (full["key_use"] != 0).all() == full["key_use"].any() == (int(process) % 2 == 0)  # every other has a key


def test_a_flag_that_is_not_atomic_is_found(tmp_path: Path) -> None:
    racy = tmp_path / "racy.h"
    racy.write_text(RACY)
    flags = (*SANITIZERS["thread"], "-include", str(racy))
    done = run(build(tmp_path, flags), tmp_path)
    assert done.returncode == FOUND
    assert "ThreadSanitizer: data race" in done.stderr
    assert "generator_stop" in done.stderr
