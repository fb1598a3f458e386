"""Of handshakes: the PIN is nowhere to be seen on any bridge, also when one fails; nor are software and ticket keys."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

import lab.topology.tls_order as tls_order
from lab.commands.run import VALID, run
from tests.runs import Place, balanced
from tests.secrecy import contents, holders, needles, watch
from tests.topology.conftest import PIN_VARIABLE, Mischief

LOAD = '[load]\nmode = "open"\nrate_hz = 60\nwarmup_s = 0\nduration_s = 0.3\n'
HANDSHAKE = f'[workload]\nkind = "handshake"\n[topology]\nprocesses = 2\n[context]\npolicy = "reinit"\n{LOAD}'
BRIDGES = ("direct", "engine", "provider")
ARMS = "".join(f'[[arm]]\nname = "{bridge}"\ntls.bridge = "{bridge}"\n' for bridge in BRIDGES)
SPAWNED = '[[arm]]\nname = "spawn"\ntopology.kind = "spawn"\ncontext.policy = "per-process"\n'


def test_a_run_with_all_bridges_shows_its_pin_nowhere(place: Place, mischief: Mischief) -> None:
    pin = mischief.access.pin.reveal()
    path = mischief.scenario("", HANDSHAKE + ARMS + SPAWNED)

    seen = watch(place, place.start(path, environment=mischief.environment))

    summary = place.summary()
    assert summary["valid"], seen.err
    assert {name: arm["failures"] for name, arm in summary["arms"].items()} == {
        name: [] for name in (*BRIDGES, "spawn")
    }
    assert holders(place.out, pin) == []
    assert not [text for text in seen.shown if any(needle in text for needle in needles(pin))]
    (configuration,) = {text.partition(b"pkcs11-module-path")[0] for text in seen.configurations}
    assert b"[token]" in configuration
    expected = {"lab.worker.root", "lab.worker.spawned", "lab.worker.generator", "lab.topology.keeper"}
    assert expected <= seen.environments.keys()
    for module in expected:
        variables = seen.environments[module]
        assert PIN_VARIABLE not in variables, module
        assert pin not in " ".join(variables.values()), module
    assert place.leftovers() == []


@pytest.mark.parametrize(
    ("bridge", "function"),
    [*((bridge, "C_Login") for bridge in BRIDGES), ("direct", "C_FindObjects"), ("provider", "C_FindObjects")],
)  # libp11 looks for its key a second time
def test_a_bridge_that_fails_tells_why_but_not_the_pin(
    bridge: str, function: str, place: Place, mischief: Mischief
) -> None:
    pin = mischief.access.pin.reveal()
    tables = HANDSHAKE.replace("reinit", "per-process")
    path = mischief.scenario(
        f"error@{function}#1+", f'{tables}[tls]\nbridge = "{bridge}"\n[[arm]]\nname = "only"\n', "any"
    )
    # in the trial's folder, so that the look at the token before the trial finds it well
    happened = place.out / "trials" / "0001-only" / "happened"
    path.write_text(path.read_text().replace(str(mischief.folder / "happened"), str(happened)))

    seen = watch(place, place.start(path, environment=mischief.environment))

    assert happened.exists(), seen.err
    (arm,) = place.summary()["arms"].values()
    assert balanced(arm)
    assert arm["ok"] == arm["planned"]  # the other process serves all
    assert [failure["setup"] for failure in arm["failures"]] == [1]
    assert len([process["detail"] for process in place.trial()["processes"] if process["detail"]]) == 1
    assert holders(place.out, pin) == []
    assert not [text for text in seen.shown if any(needle in text for needle in needles(pin))]


def test_private_keys_and_ticket_keys_of_a_run_are_in_no_file_and_no_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, so that the keys are known: the coordinator draws them and tells its children through pipes."""
    made = [tls_order._software_key("ec-p256") for _ in range(2)]
    drawn = iter([*made, *made])
    tickets = "5e" + "c7e7" * 39 + "01"
    monkeypatch.setattr(tls_order, "_software_key", lambda kind: next(drawn))
    monkeypatch.setattr(tls_order.secrets, "token_hex", lambda length: tickets)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path = tmp_path / "software.toml"
    software = '[tls]\nbridge = "software"\nvhosts = 2\nresumption = "shared"\n'
    path.write_text(
        f'blocks = 1\n[workload]\nkind = "handshake"\n{LOAD}{software}'
        '[[arm]]\nname = "prefork"\ntopology.processes = 2\n'
        '[[arm]]\nname = "spawn"\ntopology.kind = "spawn"\ntopology.processes = 2\n'
    )
    commands: set[str] = set()
    done = threading.Event()
    watcher = threading.Thread(target=_note_commands, args=(commands, done))
    watcher.start()
    try:
        status = run(path, tmp_path / "run", [], dry_run=False, quiet=True)
    finally:
        done.set()
        watcher.join()

    assert status == VALID
    assert any("lab.worker.spawned" in command for command in commands)
    secrets = [tickets.encode(), bytes.fromhex(tickets), *(secret for pem, _ in made for secret in _spellings(pem))]
    seen = [*contents(tmp_path / "run"), *(("a command", command.encode()) for command in commands)]
    assert [where for where, data in seen if any(secret in data for secret in secrets)] == []
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert all(arm["ok"] == arm["planned"] and arm["connections"]["resumed"] for arm in summary["arms"].values())


def _note_commands(commands: set[str], done: threading.Event) -> None:
    while not done.wait(0.01):
        for process in psutil.Process().children(recursive=True):
            try:
                commands.add(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue


def _spellings(pem: str) -> list[bytes]:
    """A private key as PEM lines, as DER, and its secret number alone, in bytes, hex and decimal."""
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    raw = number.to_bytes(32, "big")
    lines = [line.encode() for line in pem.splitlines() if not line.startswith("-")]
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return [*lines, der, raw, raw[::-1], raw.hex().encode(), str(number).encode()]
