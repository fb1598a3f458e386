"""All bridges to a real SoftHSM token, each in a process of its own: handshakes with Python's clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from lab.native import library
from lab.native.loops import SESSION_OWN, SESSION_PER_OPERATION, SESSION_POOL
from lab.record.dtypes import CALL, CONNECTION, LAYER
from lab.record.names import FUNCTIONS, ckr_name
from lab.record.rowfile import read_rows
from lab.tokens.model import KeyInfo
from lab.tokens.softhsm import SoftHsm
from tests.native.conftest import KEY
from tests.native.serving import LOOPBACK, Rows, certificate, client_context, greet, host_name, try_to_greet
from tests.native.serving_process import Plan
from tests.tokens.conftest import Settings

CONNECTIONS: Final = 5
STATIC_RSA_CIPHER: Final = "AES256-GCM-SHA384"


def openssl_part(folder: str, name: str) -> Path:
    """A shared object in one of OpenSSL's folders, wherever they are."""
    shown = subprocess.run(["openssl", "version", f"-{folder[0]}"], capture_output=True, text=True, check=True)
    found = Path(shown.stdout.split('"')[1]) / name
    assert found.is_file(), f"{found} is missing: install libengine-pkcs11-openssl and pkcs11-provider"
    return found


@dataclass(frozen=True)
class Golden:
    token: SoftHsm
    keys: dict[str, KeyInfo]


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Golden]:
    token = SoftHsm(Settings())
    made = token.prepare(frozenset({"ec-p256", "ec-p384", "rsa-2048"}), tmp_path_factory.mktemp("golden") / "token")
    yield Golden(token, dict(made.keys))
    token.retire()


@dataclass
class Told:
    """What a server process said, what its connections' rows are, and the module's calls of all its processes."""

    said: dict[str, Any]
    rows: Rows
    calls: list[tuple[str, int]]

    def count(self, function: str) -> int:
        return sum(name == function for name, _ in self.calls)


@dataclass
class Bench:
    golden: Golden
    folder: Path

    def configuration(self, module: Path) -> Path:
        file = self.folder / "openssl.cnf"
        file.write_text(
            "openssl_conf = start\n[start]\nproviders = both\n[both]\ndefault = first\npkcs11 = second\n"
            "[first]\nactivate = 1\n"
            f"[second]\nmodule = {openssl_part('modules', 'pkcs11.so')}\npkcs11-module-path = {module}\n"
            "pkcs11-module-cache-pins = cache\nactivate = 1\n"
        )
        return file

    def serve(self, bridge: str, kind: str = "ec-p256", *, pin: str | None = None, **more: Any) -> Told:
        """Serves CONNECTIONS clients, behind the tap."""
        access = self.golden.token.restore(self.folder / "token", kind)
        pem = self.golden.keys[kind].public_pem
        version, exchange = more.pop("version", "1.3"), more.pop("key_exchange", "ecdhe")
        tap = library("tap")
        libraries = {
            "engine": lambda: openssl_part("engines", "pkcs11.so"),
            "provider": lambda: self.configuration(tap),
        }
        plan = Plan(
            folder=str(self.folder),
            settings={"bridge": bridge, "version": version, "key_exchange": exchange},
            module=str(tap),
            token_label=access.token_label,
            pin=pin or access.pin.reveal(),
            key_label=kind,
            public_pem=pem,
            certificate=certificate(pem, host_name(0)),
            connections=CONNECTIONS,
            library=str(libraries[bridge]()) if bridge in libraries else None,
            **more,
        )
        tapped = {"LAB_TAP_MODULE": str(access.module), "LAB_TAP_DIR": str(self.folder), "LAB_TAP_KEY": KEY}
        environment = os.environ | access.environment | tapped | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "tests.native.serving_process"]
        process = subprocess.Popen(command, env=environment, stdin=-1, stdout=-1, text=True)
        assert process.stdin
        assert process.stdout
        with process, process.stdin as stdin:
            stdin.write(json.dumps(asdict(plan)))
            stdin.close()
            said = json.loads(process.stdout.readline())
            if "parent" in said:
                said |= json.loads(process.stdout.readline())
                for _ in range(CONNECTIONS):
                    self._greet(said["port"], plan)
            for line in process.stdout:
                said |= json.loads(line)
        assert process.returncode == 0
        return Told(said, self._rows(), self._calls())

    @staticmethod
    def _greet(port: int, plan: Plan) -> None:
        static = plan.settings["key_exchange"] == "rsa"
        context = client_context(plan.settings["version"], STATIC_RSA_CIPHER if static else None)
        if plan.breaks:
            try_to_greet((LOOPBACK, port), context)
            return
        greeted = greet((LOOPBACK, port), context)
        assert greeted.certificate == plan.certificate
        assert not static or greeted.cipher == STATIC_RSA_CIPHER

    def _rows(self) -> Rows:
        path = self.folder / "connections-1.rows"
        file = read_rows(path, CONNECTION) if path.exists() else None
        return file.rows if file else None

    def _calls(self) -> list[tuple[str, int]]:
        files = [read_rows(path, CALL) for path in sorted(self.folder.glob("calls-*.rows"))]
        return [(FUNCTIONS[row["function"] - 1], int(row["ckr"])) for file in files if file for row in file.rows]


@pytest.fixture
def bench(golden: Golden, tmp_path: Path) -> Bench:
    return Bench(golden, tmp_path)


@pytest.mark.parametrize("bridge", ["direct", "engine", "provider"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["ec-p256", "rsa-2048"])
def test_every_handshake_is_a_signature_of_the_token(bench: Bench, bridge: str, kind: str, version: str) -> None:
    told = bench.serve(bridge, kind, version=version)

    assert (told.said["parent"]["code"], told.said["served"]) == (0, CONNECTIONS)
    assert told.rows["code"].tolist() == [0] * CONNECTIONS
    assert (told.rows["key_use"] != 0).all() == (bridge == "direct")
    signatures = told.count("C_Sign") + told.count("C_SignFinal")  # pkcs11-provider signs RSA in parts
    assert signatures == CONNECTIONS + 1  # and the parent's own


@pytest.mark.parametrize("bridge", ["direct", "provider"])  # with an engine, OpenSSL 3 cannot
def test_every_static_rsa_handshake_is_a_decryption_by_the_token(bench: Bench, bridge: str) -> None:
    told = bench.serve(bridge, "rsa-2048", version="1.2", key_exchange="rsa")

    assert told.rows["code"].tolist() == [0] * CONNECTIONS
    assert told.count("C_Decrypt") == CONNECTIONS + 1
    assert told.count("C_Sign") == 0


def test_a_longer_curve_signs_too(bench: Bench) -> None:
    assert bench.serve("direct", "ec-p384").rows["code"].tolist() == [0] * CONNECTIONS


@pytest.mark.parametrize("bridge", ["direct", "engine", "provider"])
def test_a_child_serves_with_what_its_parent_made(bench: Bench, bridge: str) -> None:
    """SoftHSM lets it, by default."""
    told = bench.serve(bridge, forks=True)

    assert told.rows["code"].tolist() == [0] * CONNECTIONS
    assert (told.said["status"], told.said["parent"]["code"]) == (0, 0)


@pytest.mark.parametrize("bridge", ["direct", "engine", "provider"])
def test_a_bridge_that_was_unloaded_is_loaded_anew_down_to_c_initialize(bench: Bench, bridge: str) -> None:
    told = bench.serve(bridge, reloads=True)

    assert told.rows["code"].tolist() == [0] * CONNECTIONS
    assert (told.count("C_Initialize"), told.count("C_Finalize")) == (2, 1)


@pytest.mark.parametrize("use", [SESSION_OWN, SESSION_POOL, SESSION_PER_OPERATION])
def test_each_use_of_sessions_works_on_a_token(bench: Bench, use: int) -> None:
    told = bench.serve("direct", session_use=use)

    assert told.rows["code"].tolist() == [0] * CONNECTIONS
    assert told.count("C_OpenSession") == 1 + (CONNECTIONS + 1) * (use == SESSION_PER_OPERATION)


def test_a_key_that_stops_working_is_named_by_function_and_ckr(bench: Bench) -> None:
    told = bench.serve("direct", breaks=True)  # it logs out

    failures = {(row["layer"], FUNCTIONS[row["function"] - 1], ckr_name(row["code"])) for row in told.rows}
    assert failures == {(LAYER["pkcs11"], "C_SignInit", "CKR_OBJECT_HANDLE_INVALID")}  # which is SoftHSM's word for it


@pytest.mark.parametrize("bridge", ["engine", "provider"])
def test_a_wrong_pin_is_an_error_of_openssl(bench: Bench, bridge: str) -> None:
    told = bench.serve(bridge, pin="wrong pin")

    assert told.said["layer"] == "openssl"
    assert told.said["code"]
    assert told.said["text"].startswith("the private key cannot be had; ")


@pytest.mark.parametrize("bridge", ["engine", "provider"])
def test_a_pin_stands_in_no_file(bench: Bench, bridge: str) -> None:
    pin = bench.golden.token.restore(bench.folder / "other").pin.reveal()
    bench.serve(bridge)

    written = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if pin.encode() in path.read_bytes()]
