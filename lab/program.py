"""How the lab starts processes of its own: the same Python, and this very package, wherever it was imported from."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

_PACKAGE_PARENT: Final = str(Path(__file__).resolve().parent.parent)


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of the lab."""
    return [sys.executable, "-m", module, *arguments]


def environment(without: Collection[str] = ()) -> dict[str, str]:
    """This process's environment for a child, without the variables that hold PINs."""
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    path = [_PACKAGE_PARENT, *filter(None, [inherited.get("PYTHONPATH")])]
    return {**inherited, "PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
