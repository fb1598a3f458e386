"""The misbehaving module misbehaves as it is told, there and then, and otherwise forwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.native.conftest import Bench

HEAD = """
import os
from tests.native.caller import *
module = Module(os.environ["MISCHIEF_PATH"])
length = ctypes.c_ulong(64)
def sign():
    signature = ctypes.create_string_buffer(64)
    ckr = module.call("C_Sign", 1, b"abc", 3, signature, ctypes.byref(length))
    return ckr, signature.raw[63]
"""
SIGN_THRICE = "for _ in range(3): print(*sign(), flush=True)\n"
LAST_BYTE = (63 * 7 + 1) % 256
GOOD = f"0 {LAST_BYTE}"


def run(bench: Bench, module: Path, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    mischief = {"MISCHIEF_PATH": str(module), "MISCHIEF_MODULE": str(bench.module)}
    command = [sys.executable, "-c", HEAD + script]
    return subprocess.run(
        command, env=bench.environment(**mischief, **more), capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize(
    ("mischief", "status", "lines"),
    [
        ("", 0, [GOOD, GOOD, GOOD]),
        ("sigsegv@C_Sign#2", -signal.SIGSEGV, [GOOD]),
        ("sigkill@C_Sign#2", -signal.SIGKILL, [GOOD]),
        ("exit0@C_Sign#2", 0, [GOOD]),
        ("error@C_Sign#2", 0, [GOOD, "48 0", GOOD]),
        ("error@C_Sign#2+", 0, [GOOD, "48 0", "48 0"]),
        ("wrong-signature@C_Sign#3", 0, [GOOD, GOOD, f"0 {LAST_BYTE ^ 1}"]),
        ("error@C_Verify#1", 0, [GOOD, GOOD, GOOD]),
    ],
)
def test_each_way_to_misbehave_happens_at_its_call(
    bench: Bench, mischief_module: Path, mischief: str, status: int, lines: list[str]
) -> None:
    done = run(bench, mischief_module, SIGN_THRICE, MISCHIEF=mischief)
    assert (done.returncode, done.stdout.splitlines()) == (status, lines), done.stderr


def test_fork_and_die_exits_3_and_leaves_a_sleeper_in_its_own_session(bench: Bench, mischief_module: Path) -> None:
    mark = f"sleeper-{os.getpid()}"
    environment = bench.environment(
        MISCHIEF_PATH=str(mischief_module),
        MISCHIEF_MODULE=str(bench.module),
        MISCHIEF="fork-and-die@C_Sign#1",
        MISCHIEF_MARK=mark,
    )
    root = subprocess.Popen([sys.executable, "-c", HEAD + SIGN_THRICE], env=environment, stdout=subprocess.DEVNULL)
    assert root.wait(timeout=100) == 3
    left = [one for one in psutil.process_iter(["environ"]) if (one.info["environ"] or {}).get("MISCHIEF_MARK") == mark]
    try:
        assert len(left) == 1
        assert left[0].pid != root.pid
    finally:
        for one in left:
            one.kill()


def test_a_hang_stands_in_a_function_that_a_stack_names(bench: Bench, mischief_module: Path) -> None:
    environment = bench.environment(
        MISCHIEF_PATH=str(mischief_module), MISCHIEF_MODULE=str(bench.module), MISCHIEF="hang@C_Sign#2"
    )
    script = HEAD + SIGN_THRICE
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline().strip() == GOOD
            watched = psutil.Process(process.pid)
            while watched.status() != psutil.STATUS_SLEEPING or "mischief_hang" not in stack_of(process.pid):
                assert process.poll() is None
        finally:
            process.kill()


def stack_of(pid: int) -> str:
    return subprocess.run(["eu-stack", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def test_calls_are_counted_afresh_in_a_forked_child(bench: Bench, mischief_module: Path) -> None:
    script = "sign()\nsign()\n"
    script += "if os.fork() == 0:\n    print(*sign(), *sign(), *sign(), flush=True)\n    os._exit(0)\nos.wait()"
    done = run(bench, mischief_module, script, MISCHIEF="error@C_Sign#3")
    assert done.stdout.split() == [*GOOD.split(), *GOOD.split(), "48", "0"]


@pytest.mark.parametrize(("who", "root", "child"), [("root", "48", "0"), ("child", "0", "48"), ("any", "48", "48")])
def test_it_can_be_kept_to_the_root_or_to_children(
    bench: Bench, mischief_module: Path, who: str, root: str, child: str
) -> None:
    script = "if os.fork() == 0:\n    print(sign()[0], flush=True)\n    os._exit(0)\nos.wait()\nprint(sign()[0])"
    done = run(bench, mischief_module, script, MISCHIEF="error@C_Sign#1", MISCHIEF_WHO=who)
    assert done.stdout.split() == [child, root]


def test_once_means_one_process_of_all(bench: Bench, mischief_module: Path, tmp_path: Path) -> None:
    once = {"MISCHIEF": "error@C_Sign#1", "MISCHIEF_ONCE": str(tmp_path / "done")}
    codes = [run(bench, mischief_module, "print(sign()[0])", **once).stdout.strip() for _ in range(3)]
    assert codes == ["48", "0", "0"]


@pytest.mark.parametrize("mischief", ["explode@C_Sign#1", "error@C_Nothing#1", "error@C_Sign", "error@C_Sign#0"])
def test_mischief_that_it_does_not_know_makes_it_unusable(bench: Bench, mischief_module: Path, mischief: str) -> None:
    done = run(bench, mischief_module, "print(module.answer)", MISCHIEF=mischief)
    assert done.stdout.split() == ["5"]
    assert done.stderr == "mischief: MISCHIEF_MODULE or MISCHIEF cannot be used\n"
