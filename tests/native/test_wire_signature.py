"""Signatures in handshake messages: tagged as PKCS#11 gives them, and whatever a server sends, nothing breaks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.native.build import TESTS, compile_c
from tests.native.test_sanitizers import OPTIONS, SANITIZERS

ROUNDS = 150


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(
        tmp_path_factory.mktemp("wire") / "fuzz",
        TESTS / "wire_signature_fuzz.c",
        flags=SANITIZERS["address"],
        libraries=("ssl", "crypto"),
        shared=False,
    )


@pytest.mark.parametrize("seed", range(8))
def test_whole_messages_have_the_tag_of_the_token_s_output_and_damaged_ones_do_no_harm(fuzz: Path, seed: int) -> None:
    command = [fuzz, str(seed), str(ROUNDS)]
    done = subprocess.run(command, env=os.environ | OPTIONS, capture_output=True, text=True, timeout=100)
    assert (done.stderr, done.returncode) == ("", 0)
    whole, damaged, with_signature, with_tag = map(int, done.stdout.split())
    assert (whole, damaged) == (ROUNDS, 10 * ROUNDS)
    assert with_tag < with_signature < damaged  # each step of the reading was taken, and each refused some
    assert with_tag > 0
