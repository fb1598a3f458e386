"""A token to trace programs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.tokens.model import TokenAccess
from tests.runs import Place
from tests.tokens.conftest import access, golden
from tests.traces import Tracing

__all__ = ["access", "golden"]


@pytest.fixture
def tracing(tmp_path: Path, access: TokenAccess) -> Tracing:
    return Tracing(Place(tmp_path), access)
