"""The tap before a real token: what a P-256 signature on SoftHSM leaves, and that no nonce comes twice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab.record.names import FUNCTIONS, MECHANISM
from lab.tokens.softhsm import MODULE
from tests.native.build import TESTS, compile_c
from tests.native.conftest import Bench
from tests.native.recorded import read_folder

SOFTHSM = MODULE.find()  # script/test installs it; a machine without it must fail, not skip
BENCHMARK = TESTS.parents[1] / "benchmarks" / "tap_cost.c"


def test_each_signature_leaves_two_rows_one_key_and_a_tag_of_its_own(bench: Bench, tmp_path: Path) -> None:
    tokens, rows = tmp_path / "tokens", tmp_path / "rows"
    tokens.mkdir()
    rows.mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    program = compile_c(tmp_path / "tap_cost", BENCHMARK, shared=False)
    environment = os.environ | {"SOFTHSM2_CONF": str(configuration)}
    environment |= {"LAB_TAP_MODULE": str(SOFTHSM), "LAB_TAP_DIR": str(rows)}
    subprocess.run([program, "sign", bench.tap, SOFTHSM, "1", "20"], env=environment, check=True, timeout=100)

    (file,) = read_folder(rows).values()
    assert [FUNCTIONS[number - 1] for number in file.rows["function"]] == ["C_SignInit", "C_Sign"] * 23
    inits, signs = file.of("C_SignInit"), file.of("C_Sign")
    assert set(file.rows["ckr"]) == {0}
    assert set(inits["argument"]) == {MECHANISM["ECDSA"]}
    assert len(set(inits["object"])) == 1
    assert len(set(signs["argument"])) == 1  # the same data each time
    assert len(set(signs["tag"])) == 23
    assert 0 not in signs["tag"]
