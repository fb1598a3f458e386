"""p11-kit as it is installed: its proxy and its server over a real SoftHSM token, used by programs of other users.

p11-kit reads no user's configuration as root, so where the tests run as root, its users here are www-data.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabFault, ScenarioError
from lab.process.beside import Beside
from lab.record import dtypes
from lab.record.names import FUNCTIONS
from lab.record.order import BesideOrder
from lab.record.rowfile import read_rows
from lab.tokens.handing_over import hand_over
from lab.tokens.kinds import open_token
from lab.tokens.model import TokenAccess
from lab.tokens.p11kit import CLIENT, PROXY, P11KitProxy, P11KitRemote
from lab.tokens.request import Request
from lab.tokens.softhsm import MODULE as SOFTHSM
from lab.tokens.softhsm import SoftHsm
from lab.tokens.throwaway import ask
from tests.tokens.conftest import Settings

OTHER = "www-data" if os.geteuid() == 0 else None
KINDS = ("p11kit-proxy", "p11kit-remote")
Make = Callable[..., TokenAccess]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can pass through; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="lab-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """Prepares a token with an EC key, restores it once, and hands it over to the user of the tests."""
    tokens = []

    def made(kind: str, **settings: Any) -> TokenAccess:
        token = open_token(Settings(kind, **settings))
        tokens.append(token)
        token.prepare(frozenset({"ec-p256"}), folder / "golden")
        access = token.restore(folder / "trial", "ec-p256")
        if OTHER is not None:
            hand_over(folder / "trial", OTHER)
        return access

    yield made
    for token in tokens:
        token.retire()


def run(*command: str, user: str | None = OTHER, **environment: str) -> subprocess.CompletedProcess[str]:
    whom: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        cwd="/",
        capture_output=True,
        text=True,
        errors="replace",  # a signature is no text
        timeout=60,
        check=False,
        **whom,
    )


def sign(access: TokenAccess, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    data = folder / "data"
    data.write_bytes(b"x" * 32)
    command = ["pkcs11-tool", "--module", str(access.module), "--token-label", access.token_label, "--login"]
    command += ["--pin", "env:LAB_TEST_PIN", "--sign", "--mechanism", "ECDSA", "--label", access.key_label]
    command += ["--input-file", str(data)]
    pin = {"LAB_TEST_PIN": access.pin.reveal()}
    return run(*command, **access.environment, **environment, **pin)


@contextmanager
def owner(access: TokenAccess, folder: Path) -> Iterator[Beside]:
    """The `p11-kit server` of a token, started as a trial root starts it, with the tap writing to folder/calls."""
    calls = folder / "calls"
    calls.mkdir()
    calls.chmod(0o777)
    (order,) = access.beside
    tap = {"LAB_TAP_DIR": str(calls), "LAB_TAP_KEY": "00" * 16, "LAB_TAP_ROWS": "10000"}
    environment: Mapping[str, str] = {**order.environment, **tap}
    started = Beside.start(replace(order, user=OTHER, environment=environment))
    try:
        yield started
    finally:
        started.end()


def calls_of(folder: Path) -> dict[int, list[str]]:
    """Names of the functions that each process of the owner called."""
    found = {}
    for path in (folder / "calls").glob("calls-*.rows"):
        file = read_rows(path, dtypes.CALL)
        assert file is not None
        found[file.pid] = [FUNCTIONS[row - 1] for row in file.rows["function"]]
    return found


def test_the_proxy_knows_this_softhsm_and_nothing_else(make: Make) -> None:
    access = make("p11kit-proxy")

    listed = run("p11-kit", "list-modules", **access.environment)

    assert listed.returncode == 0, listed.stderr
    modules = [line for line in listed.stdout.splitlines() if line and not line.startswith(" ")]
    assert modules == [f"lab: {SOFTHSM.find()}"]


def test_a_key_signs_through_the_proxy(make: Make, folder: Path) -> None:
    access = make("p11kit-proxy")

    done = sign(access, folder)

    assert done.returncode == 0, done.stderr
    assert access.module.name == "p11-kit-proxy.so"
    assert access.beside == ()


def test_a_softhsm_that_the_proxy_cannot_load_is_an_error_and_not_an_empty_proxy(make: Make, folder: Path) -> None:
    access = make("p11kit-proxy")
    module = folder / "trial/config/pkcs11/modules/lab.module"
    module.write_text(module.read_text().replace(str(SOFTHSM.find()), "/nowhere/libsofthsm2.so"))

    done = run("pkcs11-tool", "--module", str(access.module), "--list-slots", **access.environment)

    assert done.returncode != 0
    assert "No slots" not in done.stderr


def test_a_key_signs_through_the_server_and_each_connection_is_a_process_of_its_own(make: Make, folder: Path) -> None:
    access = make("p11kit-remote")
    with owner(access, folder):
        done = [sign(access, folder) for _ in range(2)]

    assert [each.returncode for each in done] == [0, 0], done
    assert access.mounts == ()
    assert "SOFTHSM2_CONF" not in access.environment  # its users know the socket, and not the token
    calls = calls_of(folder)
    assert len(calls) == 2
    for functions in calls.values():  # it looks at the tokens first, in a context that it ends
        assert [functions.count(name) for name in ("C_Login", "C_Sign")] == [1, 1]
        assert functions.count("C_Initialize") == functions.count("C_Finalize") > 0


def test_nothing_is_left_of_the_server_when_it_ends(make: Make, folder: Path) -> None:
    access = make("p11kit-remote")
    with owner(access, folder) as started:
        sign(access, folder)
        group = started.started.pid

    until = time.monotonic() + 10
    while time.monotonic() < until and (left := _of_session(group)):
        pass
    assert left == []
    assert not Path(access.beside[0].ready).exists()


def _of_session(session: int) -> list[str]:
    """Processes of a session that are not dead, by /proc/<pid>/stat: pid (name) state parent group session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(") ")
        except OSError:
            continue
        state, _, _, of, *_ = rest.split()
        if int(of) == session and state != "Z":
            found.append(name)
    return found


def test_reset_on_fork_is_softhsm_s_own(make: Make, folder: Path) -> None:
    make("p11kit-proxy", reset_on_fork=True)
    assert "library.reset_on_fork = true" in (folder / "trial/softhsm/softhsm2.conf").read_text()


def test_odd_characters_of_a_path_reach_the_client(folder: Path) -> None:
    odd = folder / "a, b%c"
    odd.mkdir()
    odd.chmod(0o711)
    token = open_token(Settings("p11kit-remote"))
    token.prepare(frozenset({"ec-p256"}), odd / "golden")
    access = token.restore(odd / "trial", "ec-p256")
    if OTHER is not None:
        hand_over(odd / "trial", OTHER)
    with owner(access, folder):
        done = sign(access, folder)
    token.retire()
    assert done.returncode == 0, done.stderr


def test_a_socket_s_path_that_is_too_long_is_told(folder: Path) -> None:
    long = folder / ("x" * 100)
    long.mkdir()
    token = open_token(Settings("p11kit-remote"))
    token.prepare(frozenset({"ec-p256"}), folder / "golden")
    with pytest.raises(LabFault, match="longer than the 107 bytes of a socket's path"):
        token.restore(long / "trial", "ec-p256")
    token.retire()


def test_neither_pin_is_in_a_file_or_a_command(make: Make, folder: Path) -> None:
    access = make("p11kit-remote")
    (order,) = access.beside
    pin = access.pin.reveal()
    assert pin not in repr(order)
    assert pin not in " ".join((*order.command, *order.environment.values(), *access.environment.values()))
    assert not any(pin.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", KINDS)
def test_what_softhsm_offers_passes_the_check_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    assert open_token(Settings(kind)).check(frozenset({"ec-p256"}), frozenset({("ec-p256", "ECDSA")}), tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "installed"), [("p11kit-proxy", PROXY), ("p11kit-remote", CLIENT)])
def test_a_missing_module_of_p11_kit_is_named_with_its_package(
    kind: str, installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(installed.override, "/nowhere/x.so")
    with pytest.raises(ScenarioError) as raised:
        open_token(Settings(kind)).check(frozenset(), frozenset())
    said = str(raised.value)
    assert said.startswith(f"token.kind: {kind}: p11-kit is not installed ({installed.override} names /nowhere/x.so")
    assert "install the Debian package p11-kit-modules" in said


def test_a_missing_p11_kit_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ScenarioError, match=r"^token\.kind: p11kit-remote: the program p11-kit .* package p11-kit$"):
        open_token(Settings("p11kit-remote")).check(frozenset(), frozenset())


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_softhsm_is_what_the_message_names(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOFTHSM.override, "/nowhere/libsofthsm2.so")
    with pytest.raises(ScenarioError, match="install the Debian package softhsm2"):
        open_token(Settings(kind)).check(frozenset(), frozenset({("ec-p256", "ECDSA")}))


def test_the_lab_s_own_user_signs_through_the_proxy_root_too_and_sees_nothing_else(folder: Path) -> None:
    token = open_token(Settings("p11kit-proxy"))
    token.prepare(frozenset({"ec-p256"}), folder / "golden")
    access = token.restore(folder / "trial", "ec-p256")
    request = Request("inspect", str(access.module), "nobody", pin=access.pin.reveal(), mounts=access.mounts)

    with pytest.raises(ScenarioError, match=r'this module has: "lab"$'):  # nor the tokens of the machine
        ask(request, access.environment)
    found = ask(
        replace(request, token_label=access.token_label, keys={"ec-p256": access.key_label}), access.environment
    )

    token.retire()
    assert found["keys"]["ec-p256"]["label"] == "ec-p256"
    assert bool(access.mounts) == (os.geteuid() == 0)
    assert access.root_mounts == access.mounts


@dataclass
class Daemons:
    """A token as another kind would give it: with an init string, a program beside and a mount."""

    softhsm: SoftHsm
    kind: str = "daemons"

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        access = self.softhsm.restore(folder, key)
        beside = BesideOrder(("sleep", "60"), {}, None, str(folder))
        return replace(access, init_string="a='b' c=d", beside=(beside,), mounts=(("/from", "/to"),))


@pytest.fixture
def daemons(golden: SoftHsm) -> Daemons:
    return Daemons(golden)


def test_what_a_token_needs_is_kept_by_the_server_that_is_started_after_it(daemons: Daemons, tmp_path: Path) -> None:
    access = P11KitRemote(daemons).restore(tmp_path / "trial", "ec-p256")  # type: ignore[arg-type]
    first, server = access.beside
    assert first.command == ("sleep", "60")
    assert (first.owner, server.owner) == (False, True)
    assert server.environment["LAB_TAP_INIT"] == "a='b' c=d"
    assert access.init_string is None  # it is the module's, not that of p11-kit's client
    assert access.mounts == (("/from", "/to"),)


def test_what_a_token_needs_is_kept_by_the_proxy(daemons: Daemons, tmp_path: Path) -> None:
    access = P11KitProxy(daemons).restore(tmp_path / "trial", "ec-p256")  # type: ignore[arg-type]
    assert [order.command for order in access.beside] == [("sleep", "60")]
    assert access.mounts[0] == ("/from", "/to")
    assert access.init_string is None
    written = (tmp_path / "trial/config/pkcs11/modules/lab.module").read_text()
    assert "x-init-reserved: a='b' c=d\n" in written


def test_an_init_string_reaches_the_module_behind_the_proxy(
    daemons: Daemons, tmp_path: Path, compiled: Callable[[str], Path]
) -> None:
    says = compiled(
        "static CK_RV init(void *a) { CK_C_INITIALIZE_ARGS *given = a;"
        'fprintf(stderr, "init: %s\\n", given && given->pReserved ? (char *)given->pReserved : "none");'
        "return CKR_GENERAL_ERROR; }"
        "static CK_FUNCTION_LIST list = {{2, 40}, .C_Initialize = init};"
        "CK_RV C_GetFunctionList(CK_FUNCTION_LIST **to) { *to = &list; return CKR_OK; }"
    )
    P11KitProxy(daemons).restore(tmp_path / "trial")  # type: ignore[arg-type]
    config = tmp_path / "trial/config/pkcs11"
    module = config / "modules/lab.module"
    module.write_text(module.read_text().replace(str(SOFTHSM.find()), str(says)))
    if OTHER is not None:
        for above in (tmp_path, *tmp_path.parents[:3]):
            above.chmod(0o755)
        hand_over(tmp_path / "trial", OTHER)

    done = run("p11-kit", "list-modules", XDG_CONFIG_HOME=str(config.parent))

    assert "init: a='b' c=d" in done.stderr
