"""Programs of servers: found where they lie, asked for their version, and missed with what to install."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.servers import programs
from lab.servers.model import ServerName
from lab.servers.programs import PROGRAMS, find_program, version_of

PACKAGES: dict[ServerName, str] = {"httpd": "apache2", "nginx": "nginx", "stunnel": "stunnel4"}


def program(file: Path, text: str) -> Path:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    ("name", "says"),
    [("httpd", r"Apache/2\.\d+\.\d+.*"), ("nginx", r"nginx/\d+\.\d+\.\d+"), ("stunnel", r"stunnel \d+\.\d+")],
)
def test_an_installed_server_is_found_and_says_its_version(name: ServerName, says: str) -> None:
    assert find_program(name).is_absolute()
    assert re.fullmatch(says, version_of(name))


def test_a_server_is_found_where_the_path_of_a_user_does_not_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("httpd").parent in map(Path, ("/usr/sbin", "/usr/local/sbin"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_server_is_named_with_its_package_and_its_variable(
    name: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(programs, "_FOLDERS", ())
    with pytest.raises(ScenarioError) as raised:
        find_program(name)
    assert str(raised.value).startswith(f"tls.server: {name}: ")
    assert f"is not installed; install the Debian package {PACKAGES[name]}, or set LAB_{name.upper()} " in str(
        raised.value
    )


def test_the_variable_names_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = program(tmp_path / "other", 'echo "nginx version: nginx/9.9.9 (own)" >&2')
    monkeypatch.setenv("LAB_NGINX", str(other))
    assert (find_program("nginx"), version_of("nginx")) == (other, "nginx/9.9.9")


@pytest.mark.parametrize("there", [False, True], ids=["missing", "not executable"])
def test_a_variable_that_names_no_program_is_an_error(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "httpd"
    if there:
        file.write_text("")
    monkeypatch.setenv("LAB_HTTPD", str(file))
    with pytest.raises(
        ScenarioError, match=f"^tls.server: httpd: LAB_HTTPD names {file}, which is no program; .* apache2 is used$"
    ):
        find_program("httpd")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo hello", "is not stunnel"),
        ("exec sleep 60", "did not say its version within"),
        (None, "cannot be started"),
    ],
    ids=["another", "silent", "no format"],
)
def test_another_program_is_no_server(
    text: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = program(tmp_path / "stunnel", text or "")
    if text is None:
        file.write_bytes(b"\x7fELF rubbish")
    monkeypatch.setattr(programs, "_PATIENCE_S", 0.5)
    monkeypatch.setenv("LAB_STUNNEL", str(file))
    with pytest.raises(ScenarioError, match=f"^tls.server: stunnel: {file} {said}"):
        version_of("stunnel")
