"""A scenario file to its text."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError

MAX_BYTES: Final = 1_000_000


def read(path: Path) -> str:
    """The text of a scenario file. Raises ScenarioError, one line that names the file, where there is none."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _refused(path, "is a directory; give a scenario file (.toml)")
        if not stat.S_ISREG(mode):  # reading a pipe or a terminal might never end
            raise _refused(path, "is not a regular file; give a scenario file (.toml)")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refused(path, "no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _refused(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise _refused(path, f"is larger than {MAX_BYTES} bytes; a scenario file is a page of TOML")
    if b"\0" in data:
        raise _refused(path, "is binary; a scenario file is TOML, in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not UTF-8 at byte {error.start}; a scenario file is TOML, in UTF-8") from None
    if not text.strip():
        raise _refused(path, "is empty; a scenario file is TOML, see scenarios/ for examples")
    return text


def _refused(path: Path, text: str) -> ScenarioError:
    name = "".join(character if character.isprintable() else "?" for character in str(path))
    return ScenarioError(f"{name}: {text}")
