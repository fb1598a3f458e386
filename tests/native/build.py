"""Compiles C for tests with gcc, warnings as errors, the way the package does it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parents[2] / "lab" / "native"
TESTS: Final = Path(__file__).parent
WARNINGS: Final = ("-Wall", "-Wextra", "-Werror")


def cryptoki_flags() -> list[str]:
    """Where the PKCS#11 header is, as pkg-config says."""
    shown = subprocess.run(["pkg-config", "--cflags", "p11-kit-1"], capture_output=True, text=True, check=True)
    return shown.stdout.split()


def compile_c(
    output: Path, *sources: Path, flags: tuple[str, ...] = (), libraries: tuple[str, ...] = (), shared: bool = True
) -> Path:
    """Builds a shared library, or a program, from C sources; any warning fails the test that asked for it."""
    kind = ["-shared", "-fPIC", "-fvisibility=hidden"] if shared else []
    command = ["gcc", "-std=gnu11", "-O2", "-g", *WARNINGS, *kind, *cryptoki_flags(), f"-I{SOURCES}", *flags]
    linked = [*(f"-l{name}" for name in libraries), "-lpthread", "-ldl"]
    done = subprocess.run([*command, *map(str, sources), "-o", str(output), *linked], text=True, stderr=-1)
    assert done.returncode == 0, done.stderr
    return output
