"""What a server says in its logs, without the PIN, which some of them write there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lab.tokens.model import Secret

_LINES: Final = 5
_HIDDEN: Final = "(PIN)"
_CHATTER: Final = re.compile(r"\b(debug|info|notice)\b|\bLOG[567]\[|^\[[ .]\](?!.* \(\d+\)$)")
"""Levels of httpd, nginx, and of stunnel, which gives the number of an error of the system in a line of a low one."""

_PER_CONNECTION: Final = re.compile(r"\[debug\]|^\S+ \S+ \S+ \S+ \S+ \S+ (debug|info) |\bLOG[67]\[")
"""Levels of nginx, of httpd's lines as the lab has them, and of stunnel."""


def text_of(path: Path) -> str:
    """A log as far as it is one; "" where there is none. A link is none: the server's user could lead root anywhere."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def without_pin(text: str, pin: Secret) -> str:
    """The text with the PIN, as it is and as a URI spells it, taken out."""
    value = pin.reveal()
    for spelling in {value, quote(value, safe="")}:
        text = text.replace(spelling, _HIDDEN) if spelling else text
    return text


def worth_keeping(text: str) -> str:
    """The log without the lines that are there only to be read as connections, which can be kilobytes for each."""
    return "".join(line for line in text.splitlines(keepends=True) if not _PER_CONNECTION.search(line))


def last_words(files: Iterable[Path], pin: Secret) -> str:
    """The last lines of each file, in one line, those of low levels only where there are no others; "" for none."""
    lines: list[str] = []
    for path in files:
        spoken = [line.strip() for line in without_pin(text_of(path), pin).splitlines() if line.strip()]
        lines += ([line for line in spoken if not _CHATTER.search(line)] or spoken)[-_LINES:]
    return " | ".join(dict.fromkeys(lines))
