"""The PIN is in no file of a run, no output, no command line, no process title, and no environment of the lab's own."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.tokens.model import TokenAccess
from tests.runs import Place, balanced

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


@dataclass
class Watched:
    """What could be seen from outside of the processes of a run."""

    commands: set[str] = field(default_factory=set)
    titles: set[str] = field(default_factory=set)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)  # by the module that the process runs
    out: str = ""
    err: str = ""


def _scenario(place: Place, access: TokenAccess, pin: str, arms: str) -> Path:
    environment = ", ".join(f"{name} = {json.dumps(value)}" for name, value in access.environment.items())
    path = place.folder / "pins.toml"
    path.write_text(
        f'blocks = 1\n[token]\nkind = "module"\npath = "{access.module}"\ntoken_label = "{access.token_label}"\n'
        f'key_label = "ec-p256"\nenvironment = {{ {environment} }}\n{pin}\n{TABLES}{arms}'
    )
    return path


def _watch(place: Place, running: subprocess.Popen[str]) -> Watched:
    seen = Watched()
    for process in place.watched(running):
        try:
            # The command first: a process between fork and exec still shows its parent's command and environment.
            command = " ".join(process.cmdline())
            seen.commands.add(command)
            seen.titles.add(process.name())
            if process.pid != running.pid and " -m lab." in command:
                seen.environments[command.split(" -m ")[1].split()[0]] = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    seen.out, seen.err = running.communicate()
    return seen


def _needles(pin: str) -> list[bytes]:
    raw = pin.encode()
    spellings = [raw, raw.hex().encode(), raw.hex().upper().encode(), raw[::-1], pin.encode("utf-16-le")]
    # base64 at each of the three alignments, without what the neighbours have a part in
    encoded = [base64.b64encode(b"\0" * shift + raw)[(shift * 8 + 5) // 6 : -4] for shift in range(3)]
    return spellings + encoded


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file's name and bytes, and every column of every Parquet file as plain bytes."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"name of {path}", str(path.relative_to(folder)).encode()
        yield str(path), path.read_bytes()
        if path.suffix == ".parquet":
            for name, column in zip((table := pq.read_table(path)).column_names, table.columns, strict=True):
                yield f"{path} {name}", column.to_numpy().tobytes()


def _holders(folder: Path, pin: str) -> list[str]:
    return [where for where, data in _contents(folder) if any(needle in data for needle in _needles(pin))]


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

    seen = _watch(place, place.start(path, environment=environment))

    summary = place.summary()
    assert summary["valid"], seen.err
    assert all(balanced(arm) and arm["ok"] == arm["planned"] for arm in summary["arms"].values())
    assert _holders(place.out, pin) == []
    shown = [*seen.commands, *seen.titles, seen.out, seen.err]
    assert not [text for text in shown if any(needle in text.encode() for needle in _needles(pin))]
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
    assert _holders(clean, pin) == []
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
        assert _holders(copy, pin) == [str(copy / "stderr.log")], name
    packed = tmp_path / "packed"
    shutil.copytree(clean, packed)
    table = pa.table({"code": pa.array(numbers * 100, pa.uint8())})
    pq.write_table(table, packed / "operations.parquet", compression="zstd")
    assert f"{packed / 'operations.parquet'} code" in _holders(packed, pin)
    (packed / "operations.parquet").rename(packed / f"{pin}.parquet")
    assert f"name of {packed / pin}.parquet" in _holders(packed, pin)
