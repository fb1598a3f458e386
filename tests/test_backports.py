"""Where script/test and script/newer-libp11 get what this Debian has only in its backports."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.machines import ROOT, Machine, machine

__all__ = ["machine"]

STANZA = """Types: deb
URIs: mirror
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: mirror-security
Suites: bookworm-security
Components: main
"""
LINES = "# deb mirror bookworm main\ndeb [trusted=yes] mirror bookworm main contrib\ndeb mirror bookworm-updates main\n"


@pytest.mark.parametrize(
    ("name", "text", "file", "found"),
    [
        (
            "sources.list.d/debian.sources",
            STANZA,
            "backports.sources",
            "Types: deb\nURIs: mirror\nSuites: bookworm-backports\nComponents: main\n",
        ),
        ("sources.list", LINES, "backports.list", "deb [trusted=yes] mirror bookworm-backports main\n"),
    ],
    ids=["stanzas", "lines"],
)
def test_backports_come_from_where_the_system_itself_comes_from(
    name: str, text: str, file: str, found: str, tmp_path: Path
) -> None:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "apt" / name).write_text(text)
    (tmp_path / "os-release").write_text("VERSION_CODENAME=bookworm\n")
    (tmp_path / "out").mkdir()
    words = ["write_backports", tmp_path / "out", tmp_path / "apt", tmp_path / "os-release"]
    command = f". {ROOT / 'script/bridges'}; " + " ".join(map(str, words))
    subprocess.run(["bash", "-c", command], check=True)
    assert (tmp_path / "out" / file).read_text() == found


def test_a_system_without_sources_has_no_backports(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("ID=arch\n")
    command = f". {ROOT / 'script/bridges'}; write_backports {tmp_path} {tmp_path} {tmp_path / 'os-release'}"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 1


PACKAGE = "libengine-pkcs11-openssl"


def newer_libp11(folder: Path, tools: Path | None = None) -> subprocess.CompletedProcess[str]:
    """script/newer-libp11 on this machine, whose apt-get may be another one, in `tools`."""
    path = os.environ["PATH"] if tools is None else f"{tools}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [ROOT / "script/newer-libp11", folder],
        env={**os.environ, "PATH": path, "TMPDIR": str(folder.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def backports(tmp_path: Path) -> Path:
    """Tools of which apt-get downloads a made-up package, whose engine has a library of its own."""
    package, tools = tmp_path / "package", tmp_path / "tools"
    engines = package / "usr/lib/x/engines-3"
    for folder in (engines, package / "DEBIAN", tools):
        folder.mkdir(parents=True)
    control = f"Package: {PACKAGE}\nVersion: 9.9-1\nArchitecture: all\nMaintainer: nobody <x@x>\nDescription: none\n"
    (package / "DEBIAN/control").write_text(control)
    cc = ["cc", "-shared", "-x", "c", os.devnull, "-o"]
    subprocess.run([*cc, engines.parent / "libp11.so.3", "-Wl,-soname,libp11.so.3"], check=True)
    linked = ["-x", "none", "-Wl,--no-as-needed", engines.parent / "libp11.so.3"]
    subprocess.run([*cc, engines / "pkcs11.so", *linked], check=True)
    made = tmp_path / "made.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", package, made], check=True, capture_output=True)
    (tools / "apt-get").write_text(
        f'#!/bin/bash\necho "$*" >>{tmp_path}/log\n'
        f'case "$*" in *" download {PACKAGE}") cp {made} {PACKAGE}_9.9-1_all.deb ;; esac\n'
    )
    (tools / "apt-get").chmod(0o755)
    return tools


def test_the_newer_engine_lies_in_the_folder_with_its_own_library_and_version(backports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "libp11"
    folder.parent.mkdir()

    done = newer_libp11(folder, backports)

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["libp11.so.3", "pkcs11.so", "version"]
    assert (folder / "version").read_text() == "9.9-1\n"
    assert f"{folder}/pkcs11.so is the engine of {PACKAGE} 9.9-1; nothing was installed" in done.stderr
    assert list(folder.parent.iterdir()) == [folder]  # no temporary file is left
    assert not any("install" in line.split() for line in (tmp_path / "log").read_text().splitlines())


def test_a_newer_engine_that_is_there_is_not_fetched_again(backports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "libp11"
    newer_libp11(folder, backports)
    asked = (tmp_path / "log").read_text()

    done = newer_libp11(folder, backports)

    assert (done.returncode, (tmp_path / "log").read_text()) == (0, asked)
    assert f"is there already: {PACKAGE} 9.9-1" in done.stderr


def test_a_newer_engine_that_cannot_be_had_is_told_and_nothing_is_left(backports: Path, tmp_path: Path) -> None:
    (backports / "apt-get").write_text("#!/bin/bash\nexit 100\n")
    folder = tmp_path / "elsewhere" / "libp11"
    folder.parent.mkdir()

    done = newer_libp11(folder, backports)

    assert done.returncode == 1
    assert f"{PACKAGE} could not be had from backports" in done.stderr
    assert list(folder.parent.iterdir()) == []


def test_the_tests_fetch_the_newer_engine_where_it_is_not(machine: Machine) -> None:
    (machine.checkout / ".bridges/libp11/pkcs11.so").unlink()
    machine.tool("mktemp", '#!/bin/bash\nmkdir "$BIN/temporary" && echo "$BIN/temporary"\n')

    done = machine.run(script="test")

    assert done.returncode == 1  # this machine has no tools to do it with
    assert PACKAGE in done.stderr or "no backports are known" in done.stderr
    assert machine.run().returncode == 0  # a run needs it only where a scenario names it
