"""The PKCS#11 context lab: what sharing, or not sharing, a token's context between processes does.

`lab.load(path)` gives a run folder as types and DataFrames (docs/api.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lab.report.loaded import Run

__all__ = ["load"]


def load(path: str | Path | None = None) -> Run:
    """The run at that path; without one, results/latest, or results/reference where there is no latest.

    Raises lab.errors.ScenarioError where the path is no run folder, lab.errors.LabFault where it cannot be read.
    """
    from lab.report.loaded import load as load_run  # pandas and more, which `import lab` alone does not need

    return load_run(path)
