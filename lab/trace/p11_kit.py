"""p11-kit's configuration with the tap in it, for programs that get their modules from p11-kit (p11tool, GnuTLS).

Source: pkcs11.conf(5). A user's module file is merged into the system's of the same name, so one line changes the
module. p11-kit reads no user's configuration where the user is root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.trace.spelling import Swap

_SYSTEM: Final = (Path("/usr/share/p11-kit/modules"), Path("/etc/pkcs11/modules"))
_NEW: Final = "lab-trace.module"


def is_p11_kit(module: Path) -> bool:
    """Whether a module is p11-kit itself, which must not get a tap that leads back to it."""
    return "p11-kit" in module.resolve().name


def write(folder: Path, own: Path, swap: Swap) -> str:
    """Fills `folder`, which is to be XDG_CONFIG_HOME in place of `own`; returns the name of the module file.

    Everything else of `own` is there as symbolic links.
    """
    modules = folder / "pkcs11" / "modules"
    modules.mkdir(parents=True)
    if own.is_dir():
        for entry in own.iterdir():
            if entry.name != "pkcs11":
                (folder / entry.name).symlink_to(entry)
    registered = [path.name for path in _module_files(*_SYSTEM) if _names(path, swap)]
    for path in _module_files(own / "pkcs11" / "modules"):
        text = path.read_text(errors="replace")
        (modules / path.name).write_text(swap(text))
        if swap(text) != text:
            registered = [path.name]
    if (own / "pkcs11" / "pkcs11.conf").is_file():
        (folder / "pkcs11" / "pkcs11.conf").write_bytes((own / "pkcs11" / "pkcs11.conf").read_bytes())
    name = registered[-1] if registered else _NEW
    if not (modules / name).exists():
        (modules / name).write_text(f"module: {swap.tap}\n")
    return name


def _module_files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob("*.module"))


def _names(path: Path, swap: Swap) -> bool:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return False
    values = [value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == "module"]
    return any(swap.is_module(value) if os.sep in value else value == swap.module.name for value in values)
