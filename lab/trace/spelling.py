"""Where a module's path stands in an argument, a variable or a configuration, however it is spelt there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

# What may be a path inside a longer text: --module=PATH, module-path=PATH&..., MODULE_PATH:PATH, a shell's command line
_PATH: Final = re.compile(r"[^\s'\"=:,;&?<>|()]*(?:/|%2[Ff])[^\s'\"=:,;&?<>|()]*")
_GLUED_OPTION: Final = re.compile(r"-[A-Za-z](?=[/.])")  # -D/usr/lib/module.so


@dataclass(frozen=True)
class Swap:
    """Puts the tap's path where the module's stands. Two spellings are the same module where they are the same file."""

    module: Path
    tap: Path

    def __call__(self, text: str) -> str:
        """The text with each path of the module replaced; the same text where there is none."""
        if self.is_module(text):
            return str(self.tap)
        name, equals, value = text.partition("=")
        if equals and self.is_module(value):  # a path with spaces in it
            return f"{name}={self.tap}"
        return _PATH.sub(self._swapped, text)

    def is_module(self, path: str) -> bool:
        """Whether this is a path of the module, seen from the current folder."""
        try:
            return bool(path) and os.path.samefile(path, self.module)
        except (OSError, ValueError):  # there is no such file; or a NUL in the path
            return False

    def _swapped(self, found: re.Match[str]) -> str:
        text = found[0]
        option = _GLUED_OPTION.match(text)
        before, path = (option[0], text[option.end() :]) if option else ("", text)
        return f"{before}{self.tap}" if self.is_module(path) or self.is_module(unquote(path)) else text
