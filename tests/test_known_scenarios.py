"""Each known case is reproduced, and its finding stated: what its file expects is what is seen of real programs."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.commands import describe, source
from lab.commands.run import UNMET
from lab.scenario import parse
from tests.runs import Place
from tests.secrecy import holders
from tests.servers.sites import PASSABLE

PATHS = sorted((Path(__file__).parent.parent / "scenarios" / "known").glob("*.toml"))
CASES = {"libp11-500", "mod-ssl-bug-42688", "p11-kit-proxy-over-softhsm", "softhsm-login-race"}
ISSUE = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+/\S+")
PIN = re.compile(r"^(?:PIN|pkcs11-module-token-pin) = (\S+)$", re.MULTILINE)
"""As the configuration of a real server's OpenSSL has it."""

LOOK_AGAIN_S = 0.1
"""Configurations are there for a whole trial; looking more often takes the processor from what is looked at."""


@dataclass(frozen=True)
class Known:
    place: Place
    done: subprocess.CompletedProcess[str]
    pins: set[str]
    left: list[str]


def _place(folder: Path, name: str) -> Place:
    (folder / name).mkdir()
    return Place(folder / name)


def _run(place: Place, path: Path) -> Known:
    """As a user runs it, to its end. Meanwhile the PINs are read from where they may be."""
    running = place.start(path)
    pins: set[str] = set()
    while True:
        with contextlib.suppress(FileNotFoundError):  # a trial has just ended
            for configuration in place.temporary.glob("**/openssl.cnf"):
                pins.update(PIN.findall(configuration.read_text()))
        try:
            out, err = running.communicate(timeout=LOOK_AGAIN_S)
        except subprocess.TimeoutExpired:
            continue
        done = subprocess.CompletedProcess(running.args, running.returncode, out, err)
        return Known(place, done, pins, place.leftovers())


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that servers' users can pass, as pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="lab-known-") as folder:
        Path(folder).chmod(PASSABLE)
        yield Path(folder)


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: path.stem)
def known(request: pytest.FixtureRequest, open_folder: Path) -> Known:
    path: Path = request.param
    return _run(_place(open_folder, path.stem), path)


def test_the_cases_of_httpd_p11_kit_and_softhsm_are_there() -> None:
    assert {path.stem for path in PATHS} >= CASES


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_known_case_names_its_public_issue_and_states_its_finding(path: Path) -> None:
    text = path.read_text()
    comment = text.partition("\n\n" + "name = ")[0]

    assert all(line.startswith("#") for line in comment.splitlines() if line)
    assert ISSUE.search(comment)
    scenario = parse(source.read(path), path.name)
    assert scenario.name == path.stem
    assert {key.split(".")[1] for key in tomllib.loads(text)["expect"]} == {arm.name for arm in scenario.arms}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_known_case_is_to_take_less_than_a_minute(path: Path) -> None:
    assert describe.minimum_s(parse(source.read(path), path.name)) < 60


BY_LUCK = {"arms.worker.diagnosis.crash-without-locking.processes", "arms.worker.rules.no-crash.verdict"}
"""Of libp11-500: on a busy machine threads seldom collide, and may get wrong answers only where others crash."""


def test_a_known_case_shows_what_it_is_known_for(known: Known) -> None:
    summary = known.place.summary()
    missed = {line.split(": ")[1] for line in known.done.stdout.splitlines() if line.startswith("not as expected: ")}
    assert missed <= BY_LUCK, known.done.stdout
    assert not missed or summary["arms"]["worker"]["fail"]
    assert known.done.returncode == (UNMET if missed else 0), known.done.stdout + known.done.stderr
    assert summary["valid"], summary["invalid_because"]
    assert not summary["partial"]


def test_nothing_of_a_known_case_is_left(known: Known) -> None:
    assert known.left == []


def test_a_known_case_s_folder_does_not_have_the_pin(known: Known) -> None:
    assert known.pins
    assert [where for pin in known.pins for where in holders(known.place.out, pin)] == []


def test_a_known_case_that_shows_something_else_is_told(open_folder: Path) -> None:
    (path,) = (path for path in PATHS if path.stem == "mod-ssl-bug-42688")
    first_arm, _, _ = path.read_text().partition('[[arm]]\nname = "daemon"')
    place = _place(open_folder, "other")
    other = place.folder / "other.toml"
    other.write_text(first_arm + '[expect]\n"arms.foreground.real_server.policy" = "inherited"\n')

    told = _run(place, other)

    assert told.done.returncode == UNMET
    assert "arms.foreground.real_server.policy: is re-initialised lazily, expected inherited" in told.done.stdout
    assert told.left == []
