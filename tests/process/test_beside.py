"""Programs beside a trial: waited for until they are ready, ended in the end, and named where they are not ready."""

from __future__ import annotations

import os
import pwd
import signal
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

import lab.process.beside as beside_module
from lab.errors import LabFault
from lab.process.beside import Beside, start_all
from lab.record.order import BesideOrder

SERVES = "import pathlib, signal, sys\npathlib.Path(sys.argv[1]).touch()\nsignal.pause()\n"
IS_DEAF = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SERVES}"


def order(program: str, ready: Path, user: str | None = None, **environment: str) -> BesideOrder:
    return BesideOrder((sys.executable, "-c", program, str(ready)), environment, user, str(ready))


def test_it_is_started_when_it_is_ready_and_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    beside = Beside.start(order(SERVES, tmp_path / "ready"))
    assert (tmp_path / "ready").exists()
    assert os.getsid(beside.started.pid) == beside.started.pid  # a signal to our group is none to it
    beside.end()
    assert beside.started.returncode == -signal.SIGTERM


def test_one_that_does_not_hear_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_module, "END_S", 0.1)
    beside = Beside.start(order(f"import os\nos.fork()\n{IS_DEAF}", tmp_path / "ready"))
    (child,) = psutil.Process(beside.started.pid).children()
    beside.end()
    assert beside.started.returncode == -signal.SIGKILL
    _, alive = psutil.wait_procs([child], 5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_its_environment_is_ours_with_its_own(tmp_path: Path) -> None:
    program = f"import os\nassert os.environ['OF_ITS_OWN'] == '1' and os.environ['PATH']\n{SERVES}"
    Beside.start(order(program, tmp_path / "ready", OF_ITS_OWN="1")).end()


def test_as_another_user_it_has_that_user_s_groups(tmp_path: Path) -> None:
    user = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("nobody")
    wanted = (user.pw_uid, user.pw_gid, sorted(os.getgrouplist(user.pw_name, user.pw_gid)))
    with tempfile.TemporaryDirectory(prefix="lab-test-") as name:  # pytest's own are closed to others
        Path(name).chmod(0o777)
        beside = Beside.start(
            BesideOrder(("sh", "-c", f"> {name}/ready; exec sleep 60"), {}, user.pw_name, f"{name}/ready")
        )
    try:
        process = psutil.Process(beside.started.pid)
        groups = Path(f"/proc/{process.pid}/status").read_text().partition("Groups:")[2].splitlines()[0].split()
        assert (process.uids().real, process.gids().real, sorted(map(int, groups))) == wanted
    finally:
        beside.end()


def test_what_an_earlier_one_left_does_not_make_it_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = tmp_path / "ready"
    ready.write_text("of one that was killed")
    Beside.start(order(SERVES.replace("touch()", "write_text('1')"), ready)).end()
    assert ready.read_text() == "1"
    monkeypatch.setattr(beside_module, "_READY_S", 0.1)
    with pytest.raises(LabFault, match=r"was not ready in 0\.1 s"):
        Beside.start(order("import signal\nsignal.pause()", ready))


def test_one_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabFault, match=r"^no-such-program cannot be started: No such file or directory$"):
        Beside.start(BesideOrder(("/nowhere/no-such-program",), {}, None, str(tmp_path / "ready")))


def test_one_that_ends_before_it_is_ready_is_named_with_its_status(tmp_path: Path) -> None:
    with pytest.raises(LabFault, match=r"^python\S* ended with status 7 before it was ready, see stderr.log$"):
        Beside.start(order("raise SystemExit(7)", tmp_path / "ready"))


def test_one_that_is_never_ready_is_named_and_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_module, "_READY_S", 0.1)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(LabFault, match=r"was not ready in 0\.1 s: .*/ready is not there$"):
        Beside.start(order("import signal\nsignal.pause()", tmp_path / "ready"))
    assert {child.pid for child in psutil.Process().children()} == before


def test_they_start_in_their_order_each_when_the_last_is_ready(tmp_path: Path) -> None:
    second = f"import os, sys\nassert os.path.exists({str(tmp_path / '1')!r})\n{SERVES}"
    started = start_all([order(SERVES, tmp_path / "1"), order(second, tmp_path / "2")])
    for each in started:
        each.end()
    assert [each.order.ready for each in started] == [str(tmp_path / "1"), str(tmp_path / "2")]
