"""openCryptoki as it is installed: a daemon and a token of each user's own, and the system's left as they are.

Needs root, as its private mounts do.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from lab.errors import ScenarioError
from lab.record.order import BesideOrder
from lab.tokens.model import Prepared, TokenAccess
from lab.tokens.opencryptoki import DAEMON, MODULE, OpenCryptoki
from tests.runs import Place, balanced, open_folder, until
from tests.tokens.conftest import Settings
from tests.tokens.opencryptoki_user import DATA

ROOT = Path(__file__).parents[2]
KEY = "rsa-2048"
CKF_SO_PIN_TO_BE_CHANGED, CKF_USER_PIN_TO_BE_CHANGED = 0x800000, 0x80000
NOT_INITIALIZED = "CKR_CRYPTOKI_NOT_INITIALIZED"

ARMS = """
blocks = 1
[token]
kind = "opencryptoki"
[topology]
processes = 2
[workload]
key = "rsa-2048"
[load]
mode = "closed"
warmup_s = 0
duration_s = 0.1
[[arm]]
name = "per-process"
[[arm]]
name = "spawn"
topology.kind = "spawn"
[[arm]]
name = "shared"
context.policy = "shared"
[[arm]]
name = "shared-context"
context = { policy = "shared", inherit = "context" }
[[arm]]
name = "reinit"
context.policy = "reinit"
[[arm]]
name = "handshake"
workload = { kind = "handshake" }
load = { clients = 2 }
"""
LONG = """
blocks = 1
[token]
kind = "opencryptoki"
[topology]
processes = 2
[workload]
key = "rsa-2048"
[load]
rate_hz = 100
duration_s = 30
"""
HTTPD = """
blocks = 1
[token]
kind = "opencryptoki"
[topology]
processes = 1
[workload]
kind = "handshake"
key = "rsa-2048"
[tls]
server = "httpd"
bridge = "engine"
[load]
rate_hz = 40
warmup_s = 0
duration_s = 0.5
"""


def of_the_system() -> dict[str, Any]:
    """What a daemon or a library of openCryptoki leaves on a machine, apart from processes."""
    found: dict[str, Any] = {"group": Path("/etc/group").read_text(), "log": Path("/var/log/opencryptoki").exists()}
    found["shm"] = [name for name in os.listdir("/dev/shm") if "opencryptoki" in name]
    found["run"] = [name for name in os.listdir("/run") if name.startswith("pkcsslotd")]
    found["segments"] = [line.split()[:4] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    for folder in ("/etc/opencryptoki", "/var/lib/opencryptoki", "/var/lock/opencryptoki"):
        for path in sorted(Path(folder).rglob("*")):
            status = path.stat()
            found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)
    return found


@pytest.fixture(autouse=True, scope="module")
def untouched() -> Iterator[None]:
    """All that these tests do leaves the system's own openCryptoki as it was."""
    before = of_the_system()
    yield
    assert of_the_system() == before


@dataclass(frozen=True)
class Golden:
    token: OpenCryptoki
    made: Prepared

    @property
    def public(self) -> rsa.RSAPublicKey:
        key = load_pem_public_key(self.made.keys[KEY].public_pem.encode())
        assert isinstance(key, rsa.RSAPublicKey)
        return key


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Golden]:
    token = OpenCryptoki(Settings("opencryptoki"))
    yield Golden(token, token.prepare(frozenset({KEY}), tmp_path_factory.mktemp("golden") / "token"))
    token.retire()


@dataclass(frozen=True)
class User:
    """A process that uses a token, see opencryptoki_user."""

    process: subprocess.Popen[str]

    def ask(self, word: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(word, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


@contextmanager
def user(access: TokenAccess) -> Iterator[User]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tokens.opencryptoki_user"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = {
        "module": str(access.module),
        "token_label": access.token_label,
        "key_label": access.key_label,
        "pin": access.pin.reveal(),
        "environment": access.environment,
        "beside": [asdict(order) for order in access.beside],
        "mounts": access.mounts,
    }
    assert process.stdin is not None
    print(json.dumps(told), file=process.stdin, flush=True)
    try:
        yield User(process)
    finally:
        process.communicate()
    assert process.returncode == 0


def test_a_token_is_made_with_pins_that_need_no_change(golden: Golden) -> None:
    assert golden.made.info.manufacturer == "IBM"
    assert golden.made.token.label == "lab"
    assert golden.made.token.max_sessions is None
    assert not golden.made.token.flags & (CKF_SO_PIN_TO_BE_CHANGED | CKF_USER_PIN_TO_BE_CHANGED)
    assert golden.public.key_size == 2048
    assert {"RSA_PKCS", "RSA_PKCS_PSS"} <= set(golden.made.keys[KEY].mechanisms)


def test_two_at_once_have_each_a_token_of_its_own_and_the_golden_one_stays(golden: Golden, tmp_path: Path) -> None:
    first, second = (golden.token.restore(tmp_path / name, KEY) for name in ("first", "second"))
    with user(first) as one, user(second) as other:
        looks = [one.ask("look"), other.ask("look")]
        assert one.ask("destroy") == "done"
        signature = bytes.fromhex(other.ask("sign"))
    golden.public.verify(signature, DATA, padding.PKCS1v15(), NoDigestInfo())
    assert looks[0]["pid"] != looks[1]["pid"]
    for look in looks:
        assert look["shm"] == ["var.lib.opencryptoki.swtok"]
        assert sorted(look["run"]) == ["lock", "pkcsslotd.pid", "pkcsslotd.socket"]
    with user(first) as one, user(golden.token.restore(tmp_path / "third", KEY)) as other:
        assert one.ask("sign") is None
        assert other.ask("sign") == signature.hex()  # PKCS#1 draws nothing


def test_a_child_must_initialise_and_log_in_for_itself_and_its_parent_is_unharmed(
    golden: Golden, tmp_path: Path
) -> None:
    with user(golden.token.restore(tmp_path / "trial", KEY)) as one:
        before = one.ask("sign")
        assert one.ask("in-child") == [NOT_INITIALIZED, "CKR_OK", "CKR_OK"]
        assert one.ask("sign") == before


def test_without_its_daemon_a_context_signs_on_and_no_other_begins(golden: Golden, tmp_path: Path) -> None:
    with user(golden.token.restore(tmp_path / "trial", KEY)) as one:
        before = one.ask("sign")
        assert one.ask("lose-daemon") == -signal.SIGKILL
        assert one.ask("sign") == before
        assert one.ask("in-child") == [NOT_INITIALIZED, "CKR_FUNCTION_FAILED"]


def test_neither_pin_is_in_a_file_or_a_command(golden: Golden, tmp_path: Path) -> None:
    access = golden.token.restore(tmp_path / "trial", KEY)
    pin = access.pin.reveal()
    (order,) = access.beside
    assert pin not in " ".join((*order.command, *order.environment.values(), *access.environment.values()))
    assert not any(pin.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_it_offers_passes_the_check_and_leaves_nothing(tmp_path: Path) -> None:
    token = OpenCryptoki(Settings("opencryptoki"))
    mechanisms = frozenset({("rsa-4096", "SHA256_RSA_PKCS_PSS")})
    assert token.check(frozenset({"rsa-4096"}), mechanisms, tmp_path, decrypt=frozenset({KEY})) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_it_cannot_make_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as raised:
        OpenCryptoki(Settings("opencryptoki")).check(frozenset({"ec-p256"}), frozenset(), tmp_path)
    assert str(raised.value) == (
        "workload.key: this token makes no keys of kind ec-p256; it makes: rsa-2048, rsa-3072, rsa-4096"
    )


def test_who_is_not_root_is_told_so_before_anything_starts(tmp_path: Path) -> None:
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        with pytest.raises(ScenarioError, match=r"^token\.kind: opencryptoki: only root can .* run the lab as root$"):
            OpenCryptoki(Settings("opencryptoki")).check(frozenset({KEY}), frozenset(), tmp_path)
    finally:
        os.seteuid(0)


def test_root_that_may_not_mount_is_told_so_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(LONG)
    done = subprocess.run(
        ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-m", "lab", path, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "token.kind: unshare(CLONE_NEWNS | CLONE_NEWIPC) is refused" in done.stderr
    assert "root with CAP_SYS_ADMIN" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_place_that_its_mounts_would_hide_is_refused() -> None:
    with tempfile.TemporaryDirectory(prefix="lab-test-", dir="/dev/shm") as hidden:
        with pytest.raises(ScenarioError, match=rf"^token\.kind: {hidden}/.* lies in /dev/shm, .*TMPDIR"):
            OpenCryptoki(Settings("opencryptoki")).check(frozenset({KEY}), frozenset(), Path(hidden))
        assert os.listdir(hidden) == []


@pytest.mark.parametrize(
    ("override", "file"),
    [(MODULE.override, "libopencryptoki.so.0"), (DAEMON.override, "pkcsslotd")],
    ids=["module", "daemon"],
)
def test_a_missing_part_is_named_with_its_package(override: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(override, "/nowhere/x")
    with pytest.raises(ScenarioError) as raised:
        OpenCryptoki(Settings("opencryptoki")).check(frozenset(), frozenset())
    assert str(raised.value) == (
        f"token.kind: opencryptoki is not installed ({override} names /nowhere/x, which is no file); install the "
        f"Debian package opencryptoki, or set {override} to the path of {file}"
    )


def test_a_missing_group_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.tokens.opencryptoki._group_lines", lambda: ["root:x:0:"])
    with pytest.raises(ScenarioError, match="this machine has no group pkcs11"):
        OpenCryptoki(Settings("opencryptoki")).check(frozenset(), frozenset())


def test_its_daemon_is_root_s_whoever_the_server_is(golden: Golden, tmp_path: Path) -> None:
    (order,) = golden.token.restore(tmp_path / "trial").beside
    assert isinstance(order, BesideOrder)
    assert order.user == "root"
    assert order.command[1:] == ("-f",)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The arms of a run of all policies, and of handshakes, that left nothing."""
    place = Place(tmp_path_factory.mktemp("played"))
    before = of_the_system()
    path = place.folder / "arms.toml"
    path.write_text(ARMS)
    done = place.run(path, "--quiet")
    assert done.returncode == 0, done.stderr
    assert place.leftovers() == []
    assert of_the_system() == before
    arms: dict[str, Any] = place.summary()["arms"]
    return arms


@pytest.mark.parametrize("name", ["per-process", "spawn", "reinit", "handshake"])
def test_a_child_with_a_context_of_its_own_signs(name: str, played: dict[str, Any]) -> None:
    arm = played[name]
    assert balanced(arm)
    assert arm["ok"] == arm["planned"] == arm["verified"]
    assert arm["processes"]["crashed"] == arm["processes"]["hung"] == 0


@pytest.mark.parametrize(
    ("name", "function"), [("shared", "C_SignInit"), ("shared-context", "C_OpenSession")], ids=["sessions", "context"]
)
def test_a_child_that_uses_its_parent_s_context_is_refused_by_name(
    name: str, function: str, played: dict[str, Any]
) -> None:
    arm = played[name]
    assert balanced(arm)
    assert arm["ok"] == 0
    assert [(f["code"], f["processes"]) for f in arm["failures"]] == [(NOT_INITIALIZED, 2)]
    assert function in arm["failures"][0]["functions"]
    assert arm["rules"]["initialize-per-process"]["verdict"] == "violates"
    assert arm["rules"]["parent-unharmed"]["verdict"] == "conforms"


def name_of(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL of the coordinator"])
def test_nothing_is_left_of_a_run_that_is_cut_off(number: int, tmp_path: Path) -> None:
    before, place = of_the_system(), Place(tmp_path)
    path = tmp_path / "long.toml"
    path.write_text(LONG)
    running = place.start(path, "--quiet")
    until(lambda: running.poll() is not None or bool(list(place.out.glob("trials/*/operations-2.rows"))))
    assert "pkcsslotd" in map(name_of, place.processes())
    running.send_signal(number)
    running.communicate()
    assert running.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert place.leftovers() == []
    assert of_the_system() == before


def test_workers_of_a_real_server_use_it_as_another_user() -> None:
    with open_folder() as folder:
        place = Place(folder)
        path = folder / "httpd.toml"
        path.write_text(HTTPD)
        done = place.run(path, "--quiet")
        assert done.returncode == 0, done.stderr
        (arm,) = place.summary()["arms"].values()
        assert place.leftovers() == []
    assert arm["ok"] == arm["planned"] > 0
