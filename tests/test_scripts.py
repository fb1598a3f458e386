"""script/run on made-up machines: each has a PATH of its own, and its apt-get and pip only take notes."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REAL = (
    "basename",
    "bash",
    "cat",
    "chmod",
    "cp",
    "cut",
    "dirname",
    "env",
    "find",
    "flock",
    "mkdir",
    "rm",
    "sha256sum",
    "sort",
    "touch",
    "xargs",
)

BRIDGE_TOOLS = {  # and the Debian packages that have them
    "openssl": "openssl",
    "p11-kit": "p11-kit",
    "pkcs11-tool": "opensc",
    "p11tool": "gnutls-bin",
    "ssh-keygen": "openssh-client",
    "dbus-daemon": "dbus-daemon",
}

PARTS = {  # variables that name parts which are not in PATH, and the Debian packages that have them
    "LAB_HTTPD": "apache2",
    "LAB_NGINX": "nginx",
    "LAB_STUNNEL": "stunnel4",
    "LAB_P11_KIT_PROXY": "p11-kit-modules",
    "LAB_P11_KIT_CLIENT": "p11-kit-modules",
    "LAB_NSS": "libnss3",
    "LAB_TPM2_PKCS11": "libtpm2-pkcs11-1",
    "LAB_SWTPM": "swtpm",
    "LAB_TPM2_ABRMD": "tpm2-abrmd",
    "LAB_ENGINE": "libengine-pkcs11-openssl",
    "LAB_PROVIDER": "pkcs11-provider",
}

PYTHON = """#!/bin/bash
echo "python3 $*" >>"$LOG"
case "$*" in
    "-c import sys"*) exit "${PYTHON_IS_OLD:-0}" ;;
    "-c import venv"*) exit "${NO_VENV:-0}" ;;
    --version) echo "Python 3.11.2" ;;
    "-m venv "*) mkdir -p "$4/bin" && cp "$BIN/venv-python" "$4/bin/python" ;;
esac
"""
VENV_PYTHON = """#!/bin/bash
case "$*" in
    "-m pip install "*) echo "pip ${*: -1}" >>"$LOG"; echo "noise of pip"; exit "${PIP:-0}" ;;
    "-m lab"*) echo "lab in $PWD:${*:3}" ;;
esac
"""
APT_GET = """#!/bin/bash
echo "apt-get $*" >>"$LOG"
[ -z "${APT_FAILS:-}" ] || exit 100
for package in "$@"; do
    case "$package" in
        elfutils) cp "$BIN/true" "$BIN/eu-stack" ;;
        pkg-config) cp "$BIN/true" "$BIN/pkg-config" ;;
    esac
done
"""
TRUE = "#!/bin/bash\nexit 0\n"


@dataclass(frozen=True)
class Machine:
    """A checkout, a folder of tools, and the log of what the tools that change something were told."""

    checkout: Path
    tools: Path

    @property
    def log(self) -> list[str]:
        file = self.tools / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if not line.startswith(("python3 -c", "python3 --version"))]

    def tool(self, name: str, text: str = TRUE) -> None:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def without(self, *names: str) -> None:
        for name in names:
            (self.tools / name).unlink()

    def user(self, number: int) -> None:
        self.tool("id", f"#!/bin/bash\necho {number}\n")

    def run(
        self, *arguments: str, script: str = "run", cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "script" / script, *arguments],
            env={
                "PATH": str(self.tools),
                "BIN": str(self.tools),
                "LOG": str(self.tools / "log"),
                **dict.fromkeys(("LAB_SOFTHSM", *PARTS), str(self.tools / "true")),
                **environment,
            },
            cwd=cwd or self.checkout,
            capture_output=True,
            text=True,
            timeout=30,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Everything is there, the user is not root and there is no sudo."""
    checkout, tools = tmp_path / "checkout", tmp_path / "tools"
    shutil.copytree(ROOT / "script", checkout / "script")
    (checkout / ".bridges/libp11").mkdir(parents=True)
    (checkout / ".bridges/libp11/pkcs11.so").write_text("")
    (checkout / "lab").mkdir()
    (checkout / "lab/__init__.py").write_text("")
    for name in ("pyproject.toml", "meson.build"):
        shutil.copy(ROOT / name, checkout)
    tools.mkdir()
    for name in REAL:
        os.symlink(shutil.which(name) or f"/missing/{name}", tools / name)
    made = Machine(checkout, tools)
    for name in ("true", "cc", "pkg-config", "eu-stack", *BRIDGE_TOOLS):
        made.tool(name)
    made.tool("python3", PYTHON)
    made.tool("venv-python", VENV_PYTHON)
    made.tool("apt-get", APT_GET)
    made.user(1000)
    return made


def test_who_may_not_install_is_told_exactly_what_to_run_and_nothing_is_changed(machine: Machine) -> None:
    machine.without("pkg-config", "eu-stack")

    ended = machine.run("x.toml")

    assert ended.returncode == 1
    install = "apt-get install -y --no-install-recommends pkg-config libp11-kit-dev libssl-dev elfutils"
    assert f"    sudo apt-get update && sudo {install}\n" in ended.stderr
    assert ended.stdout == ""
    assert machine.log == []
    assert not (machine.checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("tool", "package"),
    [("cc", "gcc libc6-dev"), ("eu-stack", "elfutils"), ("pkg-config", "pkg-config libp11-kit-dev libssl-dev")],
)
def test_a_missing_tool_is_named_by_its_package(tool: str, package: str, machine: Machine) -> None:
    machine.without(tool)

    assert f"--no-install-recommends {package}\n" in machine.run().stderr


def test_missing_softhsm_and_venv_are_named_by_their_packages(machine: Machine) -> None:
    said = machine.run(LAB_SOFTHSM="/nowhere/libsofthsm2.so", NO_VENV="1").stderr

    assert "--no-install-recommends softhsm2 python3-venv\n" in said


def test_a_system_without_apt_get_gets_the_same_list_even_as_root(machine: Machine) -> None:
    machine.without("eu-stack", "apt-get")
    machine.user(0)

    ended = machine.run()

    assert ended.returncode == 1
    assert "missing, and this user may not install them: elfutils" in ended.stderr


def test_a_system_without_apt_get_that_has_the_parts_just_runs(machine: Machine) -> None:
    machine.without("apt-get")

    assert machine.run("x.toml").stdout == f"lab in {machine.checkout}:x.toml\n"


def test_root_installs_what_is_missing_and_no_more(machine: Machine) -> None:
    machine.without("eu-stack")
    machine.user(0)

    ended = machine.run("x.toml")

    assert ended.returncode == 0, ended.stderr
    assert machine.log[:2] == ["apt-get update", "apt-get install -y --no-install-recommends elfutils"]


def test_a_user_with_sudo_installs_through_it(machine: Machine) -> None:
    machine.without("eu-stack")
    machine.tool("sudo", '#!/bin/bash\n[ "$2" = true ] || echo "sudo" >>"$LOG"\n[ "$1" = -n ] && exec "${@:2}"\n')

    assert machine.run().returncode == 0
    assert machine.log[:4] == ["sudo", "apt-get update", "sudo", "apt-get install -y --no-install-recommends elfutils"]


def test_a_failing_apt_get_says_what_to_install_by_hand(machine: Machine) -> None:
    machine.without("eu-stack")
    machine.user(0)

    ended = machine.run(APT_FAILS="1")

    assert ended.returncode == 1
    assert "To install by hand: apt-get install -y --no-install-recommends elfutils" in ended.stderr


def test_an_old_python_is_an_error_with_the_version_that_is_needed(machine: Machine) -> None:
    ended = machine.run(PYTHON_IS_OLD="1")

    assert ended.returncode == 1
    assert "Python 3.11 or later is missing" in ended.stderr


def test_the_second_time_nothing_is_made_or_installed(machine: Machine) -> None:
    machine.run("x.toml")
    first = machine.log
    ended = machine.run("x.toml", "--quiet")

    assert [line.split()[0] for line in first] == ["python3", "pip"]
    assert machine.log == first
    assert (ended.stdout, ended.stderr) == (f"lab in {machine.checkout}:x.toml --quiet\n", "")


def test_a_changed_source_is_installed_again_into_the_same_environment(machine: Machine) -> None:
    machine.run()
    (machine.checkout / "lab/__init__.py").write_text("changed = True\n")
    machine.run()
    machine.run()

    assert [line.split()[0] for line in machine.log] == ["python3", "pip", "pip"]


def test_python_s_caches_are_no_change_of_source(machine: Machine) -> None:
    machine.run()
    (machine.checkout / "lab/__pycache__").mkdir()
    (machine.checkout / "lab/__pycache__/x.pyc").write_bytes(b"x")
    machine.run()

    assert len(machine.log) == 2


def test_a_failed_installation_is_tried_again(machine: Machine) -> None:
    failed = machine.run(PIP="1")
    worked = machine.run()

    assert failed.returncode != 0
    assert "lab in" not in failed.stdout
    assert worked.returncode == 0
    assert [line.split()[0] for line in machine.log] == ["python3", "pip", "pip"]


def test_the_tests_bring_their_extra_and_serve_a_run_as_well(machine: Machine) -> None:
    machine.run(script="test")
    machine.run()

    assert [line for line in machine.log if line.startswith("pip")] == [f"pip {machine.checkout}[test]"]


def test_the_lab_runs_where_the_user_is_and_alone_writes_to_stdout(machine: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()

    ended = machine.run("a b.toml", cwd=elsewhere)

    assert ended.stdout == f"lab in {elsewhere}:a b.toml\n"
    assert "noise of pip" in ended.stderr


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


@pytest.mark.parametrize("tool", BRIDGE_TOOLS)
def test_the_tests_name_a_part_that_only_they_need(tool: str, machine: Machine) -> None:
    machine.without(tool)
    done = machine.run(script="test")
    assert done.returncode == 1
    assert f"apt-get install -y --no-install-recommends {BRIDGE_TOOLS[tool]}" in done.stderr
    assert machine.run().returncode == 0  # a run needs none of them


@pytest.mark.parametrize(("variable", "package"), PARTS.items())
def test_the_tests_name_a_server_or_a_library_that_is_missing(variable: str, package: str, machine: Machine) -> None:
    done = machine.run(script="test", **{variable: "/nowhere/x"})
    assert done.returncode == 1
    assert f"apt-get install -y --no-install-recommends {package}" in done.stderr


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
