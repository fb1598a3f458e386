"""The broker: one owner of a real token's module, clients that come, go, fork and die, and an owner that dies."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lab.errors import LabFault, ScenarioError
from lab.native import broker
from lab.process.beside import Beside
from lab.record import dtypes
from lab.record.names import FUNCTIONS, ckr_name
from lab.record.rowfile import read_rows
from lab.tokens.broker import behind_broker
from lab.tokens.model import TokenAccess
from lab.tokens.p11kit import CLIENT
from lab.tokens.preflight import check
from lab.tokens.softhsm import SoftHsm
from tests.broker_client import PIN, Client
from tests.tokens.conftest import Arm, Context, Settings

READY = ("initialize", "open", "login", "find", "sign")
FIRST = ["CKR_OK"] * 5
ALREADY = ["CKR_OK", "CKR_OK", "CKR_USER_ALREADY_LOGGED_IN", "CKR_OK", "CKR_OK"]


@dataclass
class Owner:
    """A running broker, its clients, and its calls."""

    access: TokenAccess
    started: Beside
    folder: Path
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        pin = {PIN: self.access.pin.reveal()}
        self.clients.append(Client(self.access.module, {**self.access.environment, **pin}))
        return self.clients[-1]

    def calls(self) -> Counter[tuple[str, str]]:
        """How often it called a function with an answer; it is one process."""
        (path,) = self.folder.glob("calls-*.rows")
        file = read_rows(path, dtypes.CALL)
        assert file is not None
        rows = file.rows[file.rows["state"] == dtypes.ENDED]
        return Counter((FUNCTIONS[row["function"] - 1], ckr_name(int(row["ckr"]))) for row in rows)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not as deep as pytest's own: a socket's path is short."""
    with tempfile.TemporaryDirectory(prefix="lab-test-") as name:
        yield Path(name)


@pytest.fixture
def owner(golden: SoftHsm, folder: Path) -> Iterator[Owner]:
    access = behind_broker(golden.restore(folder / "token", "ec-p256"), folder)
    (order,) = access.beside
    tap = {"LAB_TAP_DIR": str(folder), "LAB_TAP_KEY": "00" * 16, "LAB_TAP_ROWS": "100000"}
    started = Beside.start(replace(order, environment={**order.environment, **tap}))
    running = Owner(access, started, folder)
    yield running
    for client in running.clients:
        client.kill()
    started.end()


def test_the_module_is_initialised_once_and_every_client_is_the_one_application(owner: Owner) -> None:
    first, second = owner.client(), owner.client()
    assert first.word(*READY) == FIRST
    assert second.word(*READY) == ALREADY
    assert second.word("finalize") == ["CKR_OK"]
    assert first.word("sign", "finalize") == ["CKR_OK", "CKR_OK"]
    owner.started.end()
    assert owner.started.started.returncode == 0
    calls = owner.calls()
    once = [(name, "CKR_OK") for name in ("C_Initialize", "C_Login", "C_Finalize")]
    assert [calls[each] for each in once] == [1, 1, 1]
    assert calls["C_OpenSession", "CKR_OK"] == calls["C_CloseSession", "CKR_OK"] == 2
    assert calls["C_Sign", "CKR_OK"] == 3
    assert not owner.folder.joinpath("broker").exists()


def test_a_logout_of_one_client_is_everybody_s(owner: Owner) -> None:
    first, second = owner.client(), owner.client()
    first.word(*READY)
    second.word(*READY)
    assert second.word("logout") == ["CKR_OK"]
    (refused,) = first.word("sign")
    assert refused != "CKR_OK"


def test_sessions_of_a_client_that_is_killed_in_mid_call_are_closed_and_the_others_go_on(owner: Owner) -> None:
    victim, other = owner.client(), owner.client()
    victim.word(*READY)
    other.word(*READY)
    victim.begin("sign_for_ever")
    _until(lambda: owner.calls()["C_Sign", "CKR_OK"] > 20)
    victim.kill()
    _until(lambda: owner.calls()["C_CloseSession", "CKR_OK"] == 1)
    assert other.word("sign") == ["CKR_OK"]
    assert owner.calls()["C_Finalize", "CKR_OK"] == 0


def test_clients_of_an_owner_that_is_killed_get_an_error_and_do_not_hang(owner: Owner) -> None:
    idle, busy = owner.client(), owner.client()
    idle.word(*READY)
    busy.word(*READY)
    busy.begin("sign_for_ever")
    _until(lambda: owner.calls()["C_Sign", "CKR_OK"] > 20)
    owner.started.started.kill()
    owner.started.started.wait()
    assert busy.process.stdout is not None
    assert busy.process.stdout.readline().strip() == "CKR_DEVICE_ERROR"
    assert idle.word("sign", "open") == ["CKR_DEVICE_ERROR", "CKR_DEVICE_ERROR"]


def _until(holds: Callable[[], bool]) -> None:
    """Waits for what other processes do; a test's time-out ends it."""
    while not holds():
        os.sched_yield()


def test_the_socket_is_its_owner_s_alone(owner: Owner) -> None:
    mode = os.stat(owner.access.beside[-1].ready).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_what_the_token_needs_is_the_owner_s_and_comes_before_it(golden: SoftHsm, folder: Path) -> None:
    inner = golden.restore(folder / "token", "ec-p256")
    daemon = replace(behind_broker(inner, folder).beside[0], command=("daemon",), owner=False)
    inner = replace(inner, init_string="a='b'", beside=(daemon,), mounts=(("/from", "/to"),))
    access = behind_broker(inner, folder)
    assert [order.command[0] for order in access.beside] == ["daemon", str(broker())]
    assert [order.owner for order in access.beside] == [False, True]
    environment = access.beside[1].environment
    assert environment["LAB_TAP_INIT"] == "a='b'"
    assert environment["LAB_TAP_MODULE"] == str(inner.module)
    assert inner.environment.items() <= environment.items()
    assert access.init_string is None
    assert access.mounts == inner.mounts
    assert not inner.environment.keys() & access.environment.keys()  # clients know the socket, and not the token
    told = " ".join((*access.beside[1].command, *environment.values(), *access.environment.values()))
    assert access.pin.reveal() not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "broker: usage: broker SOCKET MODULE"),
        (("/tmp/x", "/nowhere/module.so"), "broker: /nowhere/module.so: "),
        (("/nowhere/" + "x" * 100, str(CLIENT.find())), "File name too long"),
        (("/nowhere/socket", str(CLIENT.find())), "broker: /nowhere/socket: No such file or directory"),
    ],
)
def test_an_owner_that_cannot_start_says_why(arguments: tuple[str, ...], said: str) -> None:
    environment = {**os.environ, "P11_KIT_SERVER_ADDRESS": "unix:path=/nowhere/socket"}
    done = subprocess.run(
        [broker(), *arguments], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr


def test_a_socket_s_path_that_is_too_long_is_told(golden: SoftHsm, folder: Path) -> None:
    access = golden.restore(folder / "token", "ec-p256")
    with pytest.raises(LabFault, match="longer than the 107 bytes of a socket's path"):
        behind_broker(access, folder / ("x" * (107 - len(str(folder)))))


def test_a_missing_client_module_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLIENT.override, "/nowhere/x.so")
    check([Arm(Settings())], "x.toml")
    with pytest.raises(ScenarioError) as raised:
        check([Arm(Settings(), context=Context("broker"))], "x.toml")
    assert str(raised.value).startswith('x.toml: arm "only": context.policy: broker: p11-kit is not installed')
    assert "install the Debian package p11-kit-modules" in str(raised.value)
