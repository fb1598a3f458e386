"""`python -m lab probe` as a user runs it: what it writes, its exit status, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lab import program
from lab.probe.examination import Examination
from lab.tokens.model import TokenAccess
from tests.mischief import mischief_module
from tests.runs import Place
from tests.secrecy import holders, needles, watch
from tests.tokens.conftest import access, golden

__all__ = ["access", "golden", "mischief_module"]

PIN_VARIABLE = "LAB_TEST_PIN"
ONE = ("--only", "child-initialize")
SETTING = "NAME_OF_A_SETTING=value-of-a-setting"


@dataclass(frozen=True)
class Probed:
    """A token that somebody else set up, to be probed in a place of its own."""

    place: Place
    access: TokenAccess
    mischief_module: Path

    def options(self, mischief: Mapping[str, str] | None = None) -> list[str]:
        """Those that name the token; with a mischief the module is the one that misbehaves."""
        module = self.access.module if mischief is None else self.mischief_module
        variables = {**self.access.environment, **(mischief or {})}
        variables |= {} if mischief is None else {"MISCHIEF_MODULE": str(self.access.module)}
        words = ["--module", str(module), "--token-label", self.access.token_label, "--pin-env", PIN_VARIABLE]
        words += ["--key-label", self.access.key_label]
        return [*words, *(word for name, value in variables.items() for word in ("--environment", f"{name}={value}"))]

    @property
    def environment(self) -> dict[str, str]:
        return {PIN_VARIABLE: self.access.pin.reveal()}

    def run(self, *options: str, mischief: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return self.place.run(Path("probe"), *self.options(mischief), *options, environment=self.environment)

    @property
    def found(self) -> Examination:
        return examination(self.place)


def examination(place: Place) -> Examination:
    return Examination.from_json(json.loads((place.out / "probe.json").read_text()))


def seen(found: Examination, name: str) -> tuple[str, str]:
    return next((line.verdict, line.seen) for line in found.lines if line.name == name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def probed(place: Place, access: TokenAccess, mischief_module: Path) -> Probed:
    return Probed(place, access, mischief_module)


@pytest.mark.parametrize(("options", "status", "verdict"), [((), 3, "violates"), (("--reset-on-fork",), 0, "conforms")])
def test_the_status_says_whether_something_violates(
    options: tuple[str, ...], status: int, verdict: str, place: Place
) -> None:
    done = place.run(Path("probe"), "--token", "softhsm", *options, *ONE, "--expect-conforming")

    assert done.returncode == status, done.stderr
    found = examination(place)
    assert [(line.name, line.verdict) for line in found.lines] == [("child-initialize", verdict)]
    assert {path.name for path in place.out.iterdir()} == {"probe.json", "probe.html"}
    assert "C_Initialize of a child" in done.stdout
    assert "1/1  child-initialize" in done.stderr
    assert found.subject.maker == "SoftHSM, Implementation of PKCS11"
    assert found.command == " ".join(["python -m lab probe --token softhsm", *options, *ONE])
    assert place.leftovers() == []


def test_the_default_folder_is_in_results_and_is_not_the_latest_run(place: Place) -> None:
    command = program.command("lab", "probe", "--token", "softhsm", *ONE, "--quiet")
    done = subprocess.run(
        command, cwd=place.folder, env=program.environment(), capture_output=True, text=True, check=False
    )
    (folder,) = (place.folder / "results").iterdir()

    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)  # something violates, unasked
    assert "-probe-softhsm-" in folder.name


def test_neither_pin_nor_settings_of_a_module_are_seen_anywhere(probed: Probed) -> None:
    options = [*probed.options(), "--environment", SETTING, *ONE]
    running = probed.place.start(Path("probe"), *options, environment=probed.environment)
    watched = watch(probed.place, running)
    pin = probed.access.pin.reveal()

    assert running.returncode == 0, watched.err
    assert "lab.probe.stage" in watched.environments
    for spelling in needles(pin):
        assert not [text for text in watched.shown if spelling in text]
    assert not [name for name, values in watched.environments.items() if pin in values.values()]
    assert holders(probed.place.out, pin) == []
    assert holders(probed.place.out, SETTING.partition("=")[2]) == []
    assert "NAME_OF_A_SETTING=..." in probed.found.command
    assert probed.place.leftovers() == []


def test_nothing_is_made_on_a_token_of_somebody_else_unless_it_is_allowed(probed: Probed) -> None:
    assert probed.run("--only", "child-session-objects").returncode == 0
    assert seen(probed.found, "child-session-objects")[0] == "not-exercised"
    assert "C_CreateObject" not in [call.name for call in probed.found.stages["child-initialize"].calls]


def test_a_wrong_pin_is_found_once_and_ends_the_probe_before_it_begins(probed: Probed) -> None:
    done = probed.place.run(Path("probe"), *probed.options(), environment={PIN_VARIABLE: "wrong-pin"})

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: --pin-env: the PIN is wrong; it was tried once")
    assert not probed.place.out.exists()


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "an exit in C_Login": ({"MISCHIEF": "exit0@C_Login#1"}, "ended with status 0 in C_Login"),
    "a crash in dlopen": ({"MISCHIEF_LOAD": "sigsegv"}, "crashed with SIGSEGV in dlopen"),
}


@pytest.mark.parametrize(("mischief", "words"), BROKEN.values(), ids=BROKEN)
def test_a_module_that_breaks_at_once_is_examined_and_does_not_conform(
    mischief: dict[str, str], words: str, probed: Probed
) -> None:
    lines = ("child-initialize", "survives", "operation-in-both")
    done = probed.run(*(word for name in lines for word in ("--only", name)), "--expect-conforming", mischief=mischief)

    assert done.returncode == 3, done.stderr
    assert seen(probed.found, "child-initialize") == ("not-exercised", f"Not reached: the process {words}.")
    assert seen(probed.found, "survives")[0] == "violates"
    assert seen(probed.found, "operation-in-both")[1].startswith("No key could be looked at: ")
    assert probed.place.leftovers() == []


def test_a_module_that_hangs_in_every_process_leaves_no_time_for_the_rest(probed: Probed) -> None:
    done = probed.run("--only", "fork", "--timeout-s", "8", mischief={"MISCHIEF": "hang@C_GetSessionInfo#1"})
    verdicts = {line.name: line.verdict for line in probed.found.lines}

    assert done.returncode == 0, done.stderr
    assert seen(probed.found, "survives")[1] != ""
    assert "No time was left for it." in [line.seen for line in probed.found.lines]
    assert "conforms" not in {verdicts["child-initialize"], verdicts["parent-after-child-exit"]}
    assert probed.found.partial.startswith("the time was over")
    assert probed.place.leftovers() == []


@pytest.mark.parametrize("what", ["daemon", "hang-at-exit"])
def test_an_untidy_module_is_examined_as_any_other(what: str, probed: Probed) -> None:
    done = probed.run(*ONE, mischief={"MISCHIEF": f"{what}@C_Initialize#1+"})

    assert done.returncode == 0, done.stderr
    assert probed.found.subject.key == "ec-p256"
    assert seen(probed.found, "child-initialize")[1].endswith("answered CKR_CRYPTOKI_ALREADY_INITIALIZED.")
    assert probed.place.leftovers() == []


def _until_a_stage_runs(place: Place, running: subprocess.Popen[str]) -> None:
    for process in place.watched(running):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "lab.probe.stage" in " ".join(process.cmdline()):
                return


def test_what_was_seen_before_an_interrupt_is_kept_and_marked(probed: Probed) -> None:
    mischief = {"MISCHIEF": "hang@C_SignInit#1", "MISCHIEF_WHO": "child"}
    lines = ("--only", "child-initialize", "--only", "fork-while-busy")
    running = probed.place.start(Path("probe"), *probed.options(mischief), *lines, environment=probed.environment)
    assert running.stderr is not None
    first = running.stderr.readline()
    os.kill(running.pid, signal.SIGINT)
    running.communicate()

    assert first.startswith("1/2  child-initialize")
    assert running.returncode == 130
    assert [line.name for line in probed.found.lines] == ["child-initialize"]
    assert probed.found.partial == "interrupted after 1 of 2 lines"
    assert probed.place.leftovers() == []


def test_nothing_outlives_a_probe_whose_coordinator_is_killed(probed: Probed) -> None:
    mischief = {"MISCHIEF": "hang@C_SignInit#1", "MISCHIEF_WHO": "child"}
    running = probed.place.start(
        Path("probe"), *probed.options(mischief), "--only", "fork-while-busy", environment=probed.environment
    )
    _until_a_stage_runs(probed.place, running)
    running.kill()
    running.communicate()

    assert probed.place.leftovers() == []
