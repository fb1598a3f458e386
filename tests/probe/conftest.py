"""The module that misbehaves on demand, for lines that must notice."""

from __future__ import annotations

from tests.mischief import mischief_module

__all__ = ["mischief_module"]
