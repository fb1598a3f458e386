"""tpm2-pkcs11 on swtpm: real TPMs in software, each a folder and a process of its own, and runs of the lab on them."""

from __future__ import annotations

import contextlib
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from lab.errors import LabFault, ScenarioError
from lab.process.beside import end_all, start_all
from lab.tokens.keys import KEYS
from lab.tokens.model import Prepared, Secret, TokenAccess
from lab.tokens.request import Request
from lab.tokens.swtpm import MANAGER, PROGRAM, Swtpm, failed_authorisations
from lab.tokens.throwaway import ask
from lab.tokens.tpm2 import KEY_KINDS, MODULE, Tpm2
from tests.runs import Place, open_folder
from tests.secrecy import holders
from tests.tokens.conftest import Settings

TPM2 = Settings("tpm2")


@dataclass(frozen=True)
class Golden:
    token: Tpm2
    made: Prepared
    folder: Path


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Golden]:
    """A prepared TPM with a key of each kind that it makes."""
    token, folder = Tpm2(TPM2), tmp_path_factory.mktemp("tpm") / "golden"
    yield Golden(token, token.prepare(frozenset(KEY_KINDS), folder), folder)
    token.retire()
    assert not folder.exists()


@contextmanager
def running(access: TokenAccess) -> Iterator[None]:
    """The TPM of an access, as a trial root starts it."""
    beside = start_all(access.beside)
    try:
        yield
    finally:
        end_all(beside)


def look(access: TokenAccess, task: Any = "inspect", **more: Any) -> dict[str, Any]:
    """What a throw-away process, with the TPM beside it, finds of the token."""
    request = Request(task, str(access.module), access.token_label, pin=access.pin.reveal(), **more)
    return ask(replace(request, beside=access.beside), access.environment)


def test_each_kind_of_key_that_a_tpm_makes_is_there(tpm: Golden) -> None:
    assert set(tpm.made.keys) == set(KEY_KINDS)
    assert tpm.made.info.description == "TPM2.0 Cryptoki"
    for kind, key in tpm.made.keys.items():
        public = load_pem_public_key(key.public_pem.encode())
        assert isinstance(public, rsa.RSAPublicKey if KEYS[kind].type == "RSA" else ec.EllipticCurvePublicKey)
        assert public.key_size == KEYS[kind].bits
        assert key.mechanisms[0] == ("RSA_PKCS" if KEYS[kind].type == "RSA" else "ECDSA")


def test_each_copy_is_a_tpm_of_its_own_that_owes_nothing(tpm: Golden, tmp_path: Path) -> None:
    first, second = (tpm.token.restore(tmp_path / name, "ec-p256") for name in ("first", "second"))

    with running(first), running(second):
        look(replace(first, beside=()), "generate", keys={"ec-p256-0": "more"}, ids=("0a",))
        with pytest.raises(ScenarioError, match='no private key has the label "more"'):
            look(replace(second, beside=()), keys={"ec-p256-0": "more"})
        assert [failed_authorisations(tmp_path / name / "tpm") for name in ("first", "second")] == [0, 0]

    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["state", "store"]


def test_a_wrong_pin_is_counted_by_the_tpm_of_this_copy(tpm: Golden, tmp_path: Path) -> None:
    access = replace(tpm.token.restore(tmp_path / "wrong", "ec-p256"), pin=Secret("00000000"))
    with running(access):
        with pytest.raises(ScenarioError, match="the PIN is wrong"):
            look(replace(access, beside=()))
        assert failed_authorisations(tmp_path / "wrong" / "tpm") == 1


def test_a_golden_tpm_is_private_and_no_file_of_it_has_a_pin(tpm: Golden) -> None:
    assert stat.S_IMODE(tpm.folder.stat().st_mode) == 0o700
    access = tpm.token.restore(tpm.folder.parent / "seen", "ec-p256")
    assert holders(tpm.folder.parent, access.pin.reveal()) == []
    assert access.pin.reveal() not in " ".join((*access.environment.values(), *access.beside[0].command))


def test_what_a_tpm_has_passes_the_check_and_leaves_nothing(tmp_path: Path) -> None:
    pairs = frozenset({("ec-p384", "ECDSA"), ("rsa-3072", "RSA_PKCS_PSS")})
    keys = frozenset({"ec-p384", "rsa-3072"})
    assert Tpm2(TPM2).check(keys, pairs, tmp_path, decrypt=frozenset({"rsa-3072"})) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_a_tpm_does_not_make_is_named_with_those_that_it_makes() -> None:
    with pytest.raises(ScenarioError) as raised:
        Tpm2(TPM2).check(frozenset({"rsa-4096-1"}), frozenset())
    assert str(raised.value) == (
        'workload.key: a TPM does not make "rsa-4096"; use one of ec-p256, ec-p384, rsa-2048, rsa-3072'
    )


@pytest.mark.parametrize(
    ("override", "package", "key"),
    [
        (MODULE.override, "libtpm2-pkcs11-1", "token.kind"),
        (PROGRAM.override, "swtpm", "token.kind"),
        (MANAGER.override, "tpm2-abrmd", "token.resource_manager"),
    ],
)
def test_a_missing_part_is_named_with_its_package(
    override: str, package: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(override, "/nowhere/x")
    with pytest.raises(ScenarioError) as raised:
        Tpm2(replace(TPM2, resource_manager=True)).check(frozenset(), frozenset())
    said = str(raised.value)
    assert said.startswith(f"{key}: ")
    assert f"{override} names /nowhere/x, which is no file" in said
    assert f"install the Debian package {package}, or set {override}" in said


@pytest.mark.parametrize(("name", "why"), [("x" * 100, "longer than the 107 bytes"), ("a,b", "only letters, digits")])
def test_a_folder_that_swtpm_cannot_be_told_is_refused(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(LabFault, match=why):
        Swtpm(tmp_path / name)


# whole runs

LOAD = '[load]\nrate_hz = 20\narrivals = "paced"\nwarmup_s = 0.2\nduration_s = 0.8\n'
SCENARIO = f"""
name = "tpm2"
question = "Does the lab work on a TPM?"
blocks = 1
{LOAD}
[token]
kind = "tpm2"
[topology]
processes = 2
[[arm]]
name = "per-process"
[[arm]]
name = "rsa"
workload.key = "rsa-2048"
[[arm]]
name = "shared"
context.policy = "shared"
[[arm]]
name = "four"
topology.processes = 4
token.resource_manager = true
[[arm]]
name = "handshakes"
workload.kind = "handshake"
[[arm]]
name = "httpd"
workload.kind = "handshake"
tls.server = "httpd"
tls.bridge = "provider"
topology.processes = 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_folder() as short:  # for the paths of sockets
        place = Place(tmp_path_factory.mktemp("run"), short)
        scenario = place.folder / "tpm2.toml"
        scenario.write_text(SCENARIO)
        done = place.run(scenario)
        assert done.returncode == 0, done.stderr
        assert place.leftovers() == []
        yield place


@pytest.fixture(scope="module")
def arms(run: Place) -> dict[str, Any]:
    summary = run.summary()
    assert summary["valid"], summary["invalid_because"]
    found: dict[str, Any] = summary["arms"]
    return found


@pytest.mark.parametrize("name", ["per-process", "rsa", "four", "handshakes"])
def test_processes_with_a_context_of_their_own_sign_and_every_signature_is_right(
    name: str, arms: dict[str, Any]
) -> None:
    arm = arms[name]
    assert arm["ok"] == arm["planned"] == arm["verified"] > 0
    assert {verdict["verdict"] for verdict in arm["rules"].values()} <= {"conforms", "not-exercised"}


def test_a_server_s_worker_of_another_user_reaches_the_tpm(arms: dict[str, Any]) -> None:
    assert arms["httpd"]["ok"] == arms["httpd"]["planned"] > 0
    assert arms["httpd"]["real_server"]["processes"]["workers"]["re-initialised"] == 1


def test_a_shared_context_is_the_first_process_s_alone_until_the_tpm_locks(arms: dict[str, Any]) -> None:
    shared = arms["shared"]
    assert shared["ok"] > 0
    assert shared["fail"] > 0
    assert [(each["code"], each["processes"]) for each in shared["failures"]] == [("CKR_GENERAL_ERROR", 3)]
    assert shared["rules"]["parent-unharmed"]["verdict"] == "violates"


def test_the_tpm_s_own_words_are_kept(run: Place) -> None:
    (said,) = (path.read_text() for path in (run.out / "trials").glob("*-shared/stderr.log"))
    assert said.count("authorization HMAC check failed and DA counter incremented") == 3
    assert "TPM is in DA lockout mode" in said


def when_there(place: Place, lab: subprocess.Popen[str], *wanted: str) -> None:
    """Returns when processes of these names have been seen of a run, which has not ended then."""
    missing = set(wanted)
    for process in place.watched(lab):
        with contextlib.suppress(psutil.NoSuchProcess):
            missing.discard(process.name())
        if not missing:
            break
    assert lab.poll() is None


@pytest.mark.parametrize(
    ("how", "seen", "status"),
    [
        (signal.SIGINT, ("swtpm", "dbus-daemon", "tpm2-abrmd"), 130),
        (signal.SIGKILL, ("swtpm", "dbus-daemon", "tpm2-abrmd"), -signal.SIGKILL),
        (signal.SIGKILL, ("swtpm",), -signal.SIGKILL),
    ],
    ids=["interrupted in a trial", "killed in a trial", "killed while keys are made"],
)
def test_no_tpm_outlives_a_run_that_is(how: signal.Signals, seen: tuple[str, ...], status: int, tmp_path: Path) -> None:
    scenario = tmp_path / "long.toml"
    scenario.write_text(SCENARIO.partition("[[arm]]")[0])
    with open_folder() as short:
        place = Place(tmp_path, short)
        lab = place.start(scenario, "--set", "load.duration_s=60", "--set", "token.resource_manager=true")
        when_there(place, lab, *seen)
        lab.send_signal(how)
        lab.communicate()
        assert lab.returncode == status
        assert place.leftovers() == []
