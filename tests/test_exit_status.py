"""What the command line answers: exit statuses, one line for bad input, and what is printed and written where."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import lab.__main__
from lab import program
from lab.scenario import parse
from lab.tokens.model import TokenAccess
from lab.tokens.softhsm import SoftHsm
from tests.bad_scenarios import BAD, SECRET, Bad
from tests.tokens.conftest import access, golden

__all__ = ["access", "golden"]

NULL = '[workload]\nkind = "null"\n'
SHORT = '[topology]\nprocesses = 2\n[load]\nmode = "open"\nrate_hz = 50\nwarmup_s = 0\nduration_s = 0.1\n'
VARIABLE = "LAB_TEST_PIN"


@dataclass(frozen=True)
class Shell:
    """A folder in which `python -m lab` is run."""

    folder: Path

    def lab(self, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = program.command("lab", *words)
        variables = {**program.environment(), **(environment or {})}
        return subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False)

    def write(self, text: str, name: str = "scenario.toml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    folder = tmp_path / "here"
    folder.mkdir()
    return Shell(folder)


def _one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The message of a refusal: one line on stderr, nothing on stdout."""
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


# bad input, status 2


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id.replace(" ", "-"))
def test_every_wrong_scenario_ends_with_2_one_line_and_nothing_written(
    bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, here = tmp_path / "source", tmp_path / "here"
    source.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    sets = [word for override in bad.overrides for word in ("--set", override)]
    monkeypatch.setattr(sys, "argv", ["lab", str(bad.path(source)), *sets])

    with pytest.raises(SystemExit) as ended:
        lab.__main__.main()

    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert all(fragment in err for fragment in bad.fragments)
    assert SECRET not in err
    assert list(here.iterdir()) == []


REPRESENTATIVE = (
    "no such file",
    "a directory",
    "binary",
    "not TOML",
    "a misspelt key",
    "a thousand million processes",
    "policy",
    "shared across exec",
    "a PIN",
    "a huge matrix",
    "a matrix of itself",
    "an override of no arm",
)


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.id in REPRESENTATIVE], ids=lambda bad: bad.id)
def test_a_wrong_scenario_is_refused_by_the_program_itself(bad: Bad, shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    sets = [word for override in bad.overrides for word in ("--set", override)]
    done = shell.lab(str(bad.path(source)), *sets)
    assert done.returncode == 2
    line = _one_line(done)
    assert bad.file in line
    assert all(fragment in line for fragment in bad.fragments)
    assert shell.names == set()


def test_the_representative_cases_are_all_in_the_table() -> None:
    assert set(REPRESENTATIVE) <= {bad.id for bad in BAD}


@dataclass(frozen=True)
class Refused:
    """What is changed of a scenario that works, and what the message names."""

    tables: Mapping[str, str]  # keys of [token], as TOML values
    fragments: tuple[str, ...]
    more: str = ""
    pin: str | None = None


REFUSED = {
    "wrong PIN": Refused({}, ("token.pin_env", "CKR_PIN_INCORRECT"), pin="0000-wrong-pin"),
    "no PIN": Refused({}, ("token.pin_env", VARIABLE, "not set"), pin=""),
    "no such token": Refused({"token_label": '"nobody"'}, ("token.token_label", "nobody")),
    "no such key": Refused({"key_label": '"nothing"'}, ("token.key_label", "nothing")),
    "a key of another kind": Refused({}, ("key", "rsa-2048"), more='[workload]\nkey = "rsa-2048"\n'),
    "missing module": Refused({"path": '"/nowhere/module.so"'}, ("token.path", "/nowhere/module.so", "no file")),
    "a folder for a module": Refused({"path": '"/usr"'}, ("token.path", "folder")),
    "text for a module": Refused({"path": '"/etc/passwd"'}, ("token.path", "/etc/passwd")),
    "a library that is no module": Refused({"path": f'"{sys.executable}"'}, ("token.path",)),
    "a mechanism that the token has not": Refused(
        {}, ("workload.mechanism", "ECDSA_SHA256"), more='[workload]\nmechanism = "ECDSA_SHA256"\n'
    ),
    "no such PIN file": Refused({"pin_file": '"no-such-file"', "pin_env": ""}, ("token.pin_file", "no-such-file")),
}


def _foreign(access: TokenAccess, **changed: str) -> str:
    environment = ", ".join(f"{name} = {json.dumps(value)}" for name, value in access.environment.items())
    keys = {
        "kind": '"module"',
        "path": json.dumps(str(access.module)),
        "token_label": json.dumps(access.token_label),
        "key_label": '"ec-p256"',
        "pin_env": json.dumps(VARIABLE),
        "environment": f"{{ {environment} }}",
        **changed,
    }
    return "blocks = 1\n[token]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_a_token_that_is_not_as_the_scenario_says_ends_with_2_and_leaves_nothing(
    refused: Refused, shell: Shell, access: TokenAccess
) -> None:
    path = shell.write(_foreign(access, **refused.tables) + refused.more + SHORT)
    pin = access.pin.reveal() if refused.pin is None else refused.pin
    done = shell.lab(str(path), "--out", "run", environment={VARIABLE: pin})
    assert done.returncode == 2, done.stderr
    line = _one_line(done)
    assert "scenario.toml" in line
    for fragment in refused.fragments:
        assert fragment in line
    assert not pin or pin not in line
    assert shell.names == {"scenario.toml"}


def test_a_mechanism_that_softhsm_has_not_is_refused_before_anything_starts(shell: Shell) -> None:
    path = shell.write(f'[workload]\nmechanism = "ECDSA_SHA512"\n{SHORT}')
    line = _one_line(done := shell.lab(str(path)))
    assert done.returncode == 2
    assert "workload.mechanism" in line
    assert "ECDSA_SHA512" in line
    assert shell.names == {"scenario.toml"}


def test_softhsm_that_is_not_installed_is_refused_with_what_to_install(shell: Shell) -> None:
    path = shell.write(f"blocks = 1\n{SHORT}")
    done = shell.lab(str(path), environment={"LAB_SOFTHSM": "/nowhere/libsofthsm2.so"})
    assert done.returncode == 2
    assert "softhsm2" in _one_line(done)
    assert shell.names == {"scenario.toml"}


@pytest.mark.parametrize(
    "out", ["file", "full", "file/run", "/proc/run"], ids=["a file", "not empty", "below a file", "unwritable"]
)
def test_a_run_folder_that_cannot_be_is_refused_and_nothing_is_overwritten(out: str, shell: Shell) -> None:
    path = shell.write(f"blocks = 1\n{NULL}{SHORT}")
    shell.write("precious", "file")
    (shell.folder / "full").mkdir()
    (shell.folder / "full" / "summary.json").write_text("precious")
    done = shell.lab(str(path), "--out", out)
    assert done.returncode == 2
    assert "--out" in _one_line(done)
    assert (shell.folder / "file").read_text() == "precious"
    assert [path.name for path in (shell.folder / "full").iterdir()] == ["summary.json"]
    assert (shell.folder / "full" / "summary.json").read_text() == "precious"


# what runs, statuses 0, 1 and 3


def test_a_run_writes_where_the_shell_is_and_latest_points_to_the_newest(shell: Shell) -> None:
    (shell.folder / "scenarios").mkdir()
    shell.write(f"blocks = 1\n{NULL}{SHORT}", "scenarios/null.toml")
    done = shell.lab("scenarios/null.toml", "--quiet")
    assert done.returncode == 0, done.stderr
    latest = shell.folder / "results" / "latest"
    assert done.stdout.splitlines() == [f"run folder: {latest.resolve()}"]
    assert done.stderr == ""
    assert json.loads((latest / "summary.json").read_text())["valid"]
    first = latest.resolve()
    assert shell.lab("scenarios/null.toml", "--quiet").returncode == 0
    assert latest.resolve() != first
    assert (latest / "summary.json").is_file()
    assert (first / "summary.json").is_file()


def test_an_empty_folder_may_be_the_run_folder_and_latest_stays_where_it_was(shell: Shell) -> None:
    path = shell.write(f"blocks = 1\n{NULL}{SHORT}")
    (shell.folder / "run").mkdir()
    assert shell.lab(str(path), "--out", "run").returncode == 0
    assert (shell.folder / "run" / "summary.json").is_file()
    assert shell.names == {"scenario.toml", "run"}


@pytest.mark.parametrize(("wanted", "status"), [("0", 0), ("> 0", 3), ("1", 3)])
def test_an_expectation_that_is_not_met_ends_with_3_and_says_so(wanted: str, status: int, shell: Shell) -> None:
    value = wanted if wanted.isdigit() else json.dumps(wanted)
    path = shell.write(f'blocks = 1\n{NULL}{SHORT}[expect]\n"arms.null.fail" = {value}\n')
    done = shell.lab(str(path), "--quiet", "--out", "run")
    assert done.returncode == status, done.stderr
    missed = [line for line in done.stdout.splitlines() if line.startswith("not as expected: ")]
    assert len(missed) == (status == 3)
    assert all("arms.null.fail" in line for line in missed)


def test_a_run_that_nobody_let_begin_is_invalid_and_ends_with_1(shell: Shell) -> None:
    """A load with no arrival at all: nothing was measured, so there is nothing to believe."""
    path = shell.write(f"blocks = 1\n{NULL}{SHORT}")
    done = shell.lab(str(path), "--set", "load.rate_hz=0.001", "--out", "run")
    assert done.returncode == 1
    assert "no operation" in done.stdout
    assert json.loads((shell.folder / "run" / "summary.json").read_text())["valid"] is False


def test_a_run_folder_that_cannot_be_read_ends_with_1_and_one_line(shell: Shell) -> None:
    (shell.folder / "run").mkdir()
    shell.write("{", "run/scenario.json")
    done = shell.lab("report", "run")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("lab fault: ")
    assert "scenario.json" in line


def test_a_report_of_what_is_no_run_folder_ends_with_2(shell: Shell) -> None:
    done = shell.lab("report", ".")
    assert done.returncode == 2
    assert "is no run folder" in _one_line(done)


def test_a_dry_run_prints_the_plan_and_starts_nothing(shell: Shell) -> None:
    path = shell.write(f'name = "dry"\nblocks = 3\n[token]\nkind = "softhsm"\n{SHORT}')
    done = shell.lab(str(path), "--dry-run", environment={"LAB_SOFTHSM": "/nowhere/libsofthsm2.so"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "dry" in done.stdout
    assert "3 blocks of 1 = 3 trials" in done.stdout
    assert shell.names == {"scenario.toml"}


def test_set_overrides_the_file(shell: Shell) -> None:
    path = shell.write(f'name = "first"\nblocks = 5\n{NULL}{SHORT}')
    words = ("--set", "blocks=2", "--set", "topology.processes=3", "--set", 'name="second"', "--set", "seed=7")
    assert shell.lab(str(path), "--out", "run", "--quiet", *words).returncode == 0
    summary = json.loads((shell.folder / "run" / "summary.json").read_text())
    (arm,) = summary["arms"].values()
    assert (summary["scenario"], summary["seed"], arm["trials"]) == ("second", 7, 2)
    assert arm["topology"]["processes"] == 3


# paths


def test_paths_of_a_scenario_file_are_seen_from_it_and_those_of_set_from_the_shell(
    shell: Shell, access: TokenAccess, golden: SoftHsm
) -> None:
    pin = access.pin.reveal()
    for folder, text in (("scenarios", pin), ("mine", pin), (".", "0000-wrong")):
        (shell.folder / folder).mkdir(exist_ok=True)
        (shell.folder / folder / "pin").write_text(text)
        (shell.folder / folder / "pin").chmod(0o600)
    (shell.folder / "scenarios" / "module.so").symlink_to(golden.path)
    text = _foreign(access, path='"module.so"', pin_env="", pin_file='"pin"') + SHORT
    shell.write(text, "scenarios/relative.toml")
    scenario = "scenarios/relative.toml"
    done = shell.lab(scenario, "--quiet", "--out", "one")
    assert done.returncode == 0, done.stderr
    done = shell.lab(scenario, "--quiet", "--out", "two", "--set", "token.pin_file=mine/pin")
    assert done.returncode == 0, done.stderr
    done = shell.lab(scenario, "--quiet", "--out", "three", "--set", "token.pin_file=pin")
    assert done.returncode == 2
    assert "CKR_PIN_INCORRECT" in done.stderr
    done = shell.lab(scenario, "--quiet", "--set", "token.path=module.so")
    assert done.returncode == 2
    assert "module.so is no file" in done.stderr


@pytest.mark.parametrize(
    ("text", "override", "paths"),
    [
        ('[token]\npath = "m.so"', None, ["s/m.so"]),
        ('[token]\npath = "/m.so"', None, ["/m.so"]),
        ('[token]\npath = "../m.so"', None, ["s/../m.so"]),
        ("[token]\n", "token.path=m.so", ["m.so"]),
        (
            '[[arm]]\nname = "a"\ntoken.path = "a.so"\n[[arm]]\nname = "b"\ntoken.path = "b.so"',
            None,
            ["s/a.so", "s/b.so"],
        ),
        (
            '[[arm]]\nname = "a"\ntoken.path = "a.so"\n[[arm]]\nname = "b"\ntoken.path = "b.so"',
            "arm.b.token.path=c.so",
            ["s/a.so", "c.so"],
        ),
        ('[matrix]\n"token.path" = ["a.so", "b.so"]', None, ["s/a.so", "s/b.so"]),
        ('[matrix]\n"token.path" = ["a.so"]', 'matrix.token.path=["b.so"]', ["b.so"]),
    ],
)
def test_where_a_path_was_given_decides_where_it_is_seen_from(
    text: str, override: str | None, paths: list[str]
) -> None:
    rest = 'token = { kind = "module", token_label = "t", key_label = "k", pin_env = "P" }'
    given = (
        text.replace("[token]", f"[token]\n{rest[9:-2].replace(', ', chr(10))}")
        if "[token]" in text
        else f"{rest}\n{text}"
    )
    scenario = parse(given, "s/x.toml", [override] if override else [])
    assert [arm.token.path for arm in scenario.arms if arm.token] == paths
