"""The parts in C, as shared libraries beside this file, and the bindings that Python calls."""

from __future__ import annotations

from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Final, Literal, get_args

from lab.errors import LabFault

DISTRIBUTION: Final = "pkcs11-context-lab"

Library = Literal["tap", "drive", "serve", "generate", "sleeper"]
LIBRARIES: Final[tuple[Library, ...]] = get_args(Library)


def library(name: Library) -> Path:
    """Path of the built library `lib<name>.so`. Raises LabFault where the package was never built."""
    return _built(f"lib{name}.so")


def broker() -> Path:
    """Path of the built program `broker`. Raises LabFault where the package was never built."""
    return _built("broker")


def stub() -> Path:
    """Path of the built PKCS#11 module of known service, for calibration. Raises LabFault as library() does."""
    return _built("libstub.so")


@cache
def _built(file: str) -> Path:
    """In a checkout, Python finds the sources first and what is built lies in the installed package: both are tried."""
    beside = Path(str(resources.files(__name__) / file))
    if beside.is_file():
        return beside
    try:
        installed = Path(str(metadata.distribution(DISTRIBUTION).locate_file(f"lab/native/{file}")))
    except metadata.PackageNotFoundError:
        installed = beside
    if not installed.is_file():
        raise LabFault(f"{file} is not built: run `pip install .` in the checkout, or use script/run")
    return installed
