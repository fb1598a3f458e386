"""Made-up machines for the scripts: each has a PATH of its own, and its apt-get and pip only take notes."""

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
    "LAB_OPENCRYPTOKI": "opencryptoki",
    "LAB_PKCSSLOTD": "opencryptoki",
    "LAB_TPM2_PKCS11": "libtpm2-pkcs11-1",
    "LAB_SWTPM": "swtpm",
    "LAB_TPM2_ABRMD": "tpm2-abrmd",
    "LAB_ENGINE": "libengine-pkcs11-openssl",
    "LAB_PROVIDER": "pkcs11-provider",
    "LAB_CHROMIUM": "chromium",
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
    (checkout / "notebooks").mkdir()
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
