"""What a server says in its logs, without the PIN, which some of them write there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lab.tokens.model import Secret

_LINES: Final = 5
_HIDDEN: Final = "(PIN)"


def without_pin(text: str, pin: Secret) -> str:
    """The text with the PIN, as it is and as a URI spells it, taken out."""
    value = pin.reveal()
    for spelling in {value, quote(value, safe="")}:
        text = text.replace(spelling, _HIDDEN) if spelling else text
    return text


def last_words(files: Iterable[Path], pin: Secret) -> str:
    """The last lines of the first files that say something, in one line; "" where none does."""
    lines: list[str] = []
    for path in files:
        if path.is_file():
            said = without_pin(path.read_text(errors="replace"), pin).splitlines()
            lines += [line.strip() for line in said if line.strip()][-_LINES:]
    return " | ".join(dict.fromkeys(lines))
