"""How a traced program ends, and that nothing of it is left: killed, daemonised, interrupted, with the lab killed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios

import psutil
import pytest

from lab import program
from tests.traces import Tracing

# Uses the module that an argument names, says so on stdout, and waits for a signal.
USES = """
import ctypes, os, signal, sys
from ctypes import c_ulong, byref
module = ctypes.CDLL(sys.argv[1])
assert module.C_Initialize(None) == 0
print(os.getpid(), flush=True)
"""
WAITS = USES + "signal.pause()\n"
DAEMONISES = (
    """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
"""
    + WAITS
)


def _python(script: str, tracing: Tracing) -> tuple[str, ...]:
    return (sys.executable, "-c", script, tracing.module)


def _pid(running: subprocess.Popen[str]) -> int:
    assert running.stdout is not None
    return int(running.stdout.readline())


def _wait_for(running: subprocess.Popen[str], text: str) -> str:
    """What it says on stderr, up to a line with this text."""
    assert running.stderr is not None
    said = ""
    for line in running.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it never said {text!r}: {said}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_program_that_a_signal_ends_has_crashed_and_its_status_is_a_shells(
    number: signal.Signals, tracing: Tracing
) -> None:
    running = tracing.start(*_python(WAITS, tracing))
    os.kill(_pid(running), number)
    _, err = running.communicate()
    assert running.returncode == 128 + number
    assert tracing.place.summary()["valid"]
    assert tracing.verdict("no-crash") == "violates"
    assert f"died of {number.name}" in " ".join(err.split())
    assert (tracing.processes[0]["end"], tracing.processes[0]["status"]) == ("signal", number)
    assert tracing.processes[0]["calls"] == 1
    assert tracing.place.leftovers() == []


def test_a_program_that_daemonises_is_followed_until_it_ends(tracing: Tracing) -> None:
    running = tracing.start(*_python(DAEMONISES, tracing))
    daemon = _pid(running)
    _wait_for(running, "has ended and left processes behind, which are followed")
    os.kill(daemon, signal.SIGTERM)
    running.communicate()
    assert running.returncode == 0, "the program's own"
    root, other = tracing.processes
    assert (root["calls"], root["end"], root["status"]) == (0, "exit", 0)
    assert (other["pid"], other["calls"], other["end"], other["status"]) == (daemon, 1, "signal", signal.SIGTERM)
    assert tracing.verdict("no-crash") == "violates"
    assert tracing.place.leftovers() == []


def test_a_daemon_that_the_user_interrupts_is_ended_and_that_is_no_crash(tracing: Tracing) -> None:
    running = tracing.start(*_python(DAEMONISES, tracing))
    daemon = _pid(running)
    _wait_for(running, "has ended and left processes behind")
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()
    assert running.returncode == 130
    assert "Interrupted" in err
    assert not psutil.pid_exists(daemon)
    assert [process["end"] for process in tracing.processes] == ["exit", "cut-off"]
    assert tracing.verdict("no-crash") == "conforms"
    assert tracing.place.leftovers() == []


def test_a_signal_to_the_lab_alone_is_passed_on(tracing: Tracing) -> None:
    running = tracing.start(*_python(WAITS, tracing))
    _pid(running)
    running.send_signal(signal.SIGTERM)
    running.communicate()
    assert running.returncode == 130
    assert tracing.processes[0]["end"] == "cut-off"
    assert tracing.place.summary()["partial"]


def test_who_insists_ends_a_program_that_does_not_listen(tracing: Tracing) -> None:
    deaf = (
        f"{USES}for number in (2, 15):\n    signal.signal(number, lambda *_: print('no', flush=True))\n"
        "print('deaf', flush=True)\nwhile True:\n    signal.pause()\n"
    )
    running = tracing.start(*_python(deaf, tracing))
    _pid(running)
    assert running.stdout is not None
    for expected in ("deaf\n", "no\n", "no\n", "no\n"):
        assert running.stdout.readline() == expected
        running.send_signal(signal.SIGTERM)  # passed on twice; then all is asked to end, then made to
    running.communicate()
    assert running.returncode == 130
    assert tracing.place.leftovers() == []


def test_ctrl_c_goes_to_the_program_and_its_status_is_its_own(tracing: Tracing) -> None:
    """On a terminal, whose key sends SIGINT to the program and to the lab at once."""
    waits = USES + (  # blocked before it says ready, so that neither signal can come too early
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGALRM})\nprint('ready', flush=True)\n"
        "signal.sigwait({signal.SIGINT})\nsignal.setitimer(signal.ITIMER_REAL, 0.2)\n"
        "signal.sigwait({signal.SIGALRM})\nos._exit(41)\n"
    )
    ours, theirs = pty.openpty()

    def foreground() -> None:
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first terminal that a session opens is its own

    running = tracing.start(*_python(waits, tracing), stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=foreground)
    os.close(theirs)
    said = b""
    while b"ready" not in said:
        said += os.read(ours, 4096)
    os.write(ours, termios.tcgetattr(ours)[6][termios.VINTR])
    try:
        while os.read(ours, 4096):
            pass
    except OSError:
        pass  # EIO: the other end is closed
    os.close(ours)
    assert running.wait() == 41
    assert tracing.processes[0]["end"] == "exit"


def test_a_killed_lab_leaves_no_process_and_its_rows_can_be_judged(tracing: Tracing) -> None:
    running = tracing.start(*_python(DAEMONISES, tracing))
    daemon = _pid(running)
    running.kill()
    running.communicate()
    assert tracing.place.leftovers() == []
    assert not psutil.pid_exists(daemon)
    report = program.command("lab", "report", "--no-page", str(tracing.place.out))
    subprocess.run(report, env=program.environment(), capture_output=True, check=False)
    assert [(p["pid"], p["calls"]) for p in tracing.processes][1] == (daemon, 1)
    assert tracing.place.summary()["partial"]


def test_a_session_that_is_left_open_is_seen(tracing: Tracing) -> None:
    opens = (
        "slots, count, session = (c_ulong * 8)(), c_ulong(8), c_ulong()\n"
        "assert module.C_GetSlotList(1, slots, byref(count)) == 0\n"
        "assert module.C_OpenSession(slots[0], c_ulong(4), None, None, byref(session)) == 0\n"
    )
    done = tracing.run(*_python(USES + opens, tracing))
    assert done.returncode == 0, done.stderr
    assert tracing.verdict("sessions-closed") == "violates"
    assert tracing.processes[0]["sessions"] == {"opened": 1, "leaked": 1, "peak": 1}
