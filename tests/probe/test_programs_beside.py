"""Programs that a token needs, in a stage: one that cannot be started is no finding about the module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import LabFault
from lab.record.order import BesideOrder
from lab.tokens.model import TokenAccess
from lab.tokens.softhsm import SoftHsm
from tests.probe.stages import probing
from tests.tokens.conftest import Settings


class WithoutItsDaemon(SoftHsm):
    """SoftHSM with a program beside it that ends at once."""

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        return replace(super().restore(folder, key), beside=(BesideOrder(("false",), {}, None, str(folder / "x")),))


@pytest.mark.parametrize("line", ["child-initialize", "survives"])
def test_a_program_that_does_not_start_is_a_fault_of_the_lab_and_not_of_the_module(line: str, tmp_path: Path) -> None:
    with (
        probing(tmp_path, WithoutItsDaemon(Settings())) as place,
        pytest.raises(LabFault, match=r"^false ended with status 1 before it was ready"),
    ):
        place.lines(line)
