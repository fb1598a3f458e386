"""The PIN is in no file of a run, no output, no command line, no process title, and no environment of the lab's own."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.tokens.model import TokenAccess
from tests.runs import Place, balanced
from tests.secrecy import holders, needles, watch

VARIABLE = "LAB_TEST_PIN"
TABLES = """
[topology]
processes = 3
[context]
policy = "reinit"
[load]
mode = "open"
rate_hz = 60
warmup_s = 0
duration_s = 0.3
[[arm]]
name = "native"
[[arm]]
name = "python"
workload.driver = "python-pkcs11"
[[arm]]
name = "spawn"
topology.kind = "spawn"
context.policy = "per-process"
"""
OTHER = f'[[arm]]\nname = "other"\ntoken.pin_env = "{VARIABLE}_2"\n'
"""An arm with a PIN variable of its own, which the others' processes must not have either."""


def _scenario(place: Place, access: TokenAccess, pin: str, arms: str) -> Path:
    environment = ", ".join(f"{name} = {json.dumps(value)}" for name, value in access.environment.items())
    path = place.folder / "pins.toml"
    path.write_text(
        f'blocks = 1\n[token]\nkind = "module"\npath = "{access.module}"\ntoken_label = "{access.token_label}"\n'
        f'key_label = "ec-p256"\nenvironment = {{ {environment} }}\n{pin}\n{TABLES}{arms}'
    )
    return path


@pytest.mark.parametrize("source", ["pin_env", "pin_file"])
def test_a_whole_run_shows_its_pin_nowhere(source: str, place: Place, access: TokenAccess) -> None:
    pin = access.pin.reveal()
    secret = place.folder / "secret"
    secret.mkdir(mode=0o700)
    (secret / "pin").write_text(f"{pin}\n")
    (secret / "pin").chmod(0o600)
    given = f'pin_env = "{VARIABLE}"' if source == "pin_env" else 'pin_file = "secret/pin"'
    environment = {VARIABLE: pin, f"{VARIABLE}_2": pin} if source == "pin_env" else {}
    path = _scenario(place, access, given, OTHER if source == "pin_env" else "")

    seen = watch(place, place.start(path, environment=environment))

    summary = place.summary()
    assert summary["valid"], seen.err
    assert all(balanced(arm) and arm["ok"] == arm["planned"] for arm in summary["arms"].values())
    assert holders(place.out, pin) == []
    assert not [text for text in seen.shown if any(needle in text for needle in needles(pin))]
    assert {"lab.worker.root", "lab.worker.spawned", "lab.topology.keeper"} <= seen.environments.keys()
    for module, variables in seen.environments.items():
        if module == "lab.tokens.probe":
            continue  # it maps one arm's module, and lacks that arm's variable alone
        assert VARIABLE not in variables, module
        assert pin not in " ".join(variables.values()), module
    assert place.leftovers() == []


def test_the_search_finds_a_pin_that_is_there(tmp_path: Path) -> None:
    pin = "6f2d41c09be77a15"
    clean = tmp_path / "clean"
    clean.mkdir()
    (clean / "summary.json").write_text('{"ok": 1}')
    assert holders(clean, pin) == []
    numbers = list(pin.encode())
    planted: dict[str, bytes] = {
        "plain": f"login with {pin}".encode(),
        "hex": pin.encode().hex().encode(),
        "base64": base64.b64encode(f"xy{pin}z".encode()),
    }
    for name, data in planted.items():
        copy = tmp_path / name
        shutil.copytree(clean, copy)
        (copy / "stderr.log").write_bytes(data)
        assert holders(copy, pin) == [str(copy / "stderr.log")], name
    packed = tmp_path / "packed"
    shutil.copytree(clean, packed)
    table = pa.table({"code": pa.array(numbers * 100, pa.uint8())})
    pq.write_table(table, packed / "operations.parquet", compression="zstd")
    assert f"{packed / 'operations.parquet'} code" in holders(packed, pin)
    (packed / "operations.parquet").rename(packed / f"{pin}.parquet")
    assert f"name of {packed / pin}.parquet" in holders(packed, pin)
