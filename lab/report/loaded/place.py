"""Which run folder is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.errors import ScenarioError

RESULTS: Final = "results"
LATEST: Final = "latest"
REFERENCE: Final = "reference"


def find(path: str | Path | None = None) -> Path:
    """The run folder at that path; without one, results/latest where that is a run, otherwise results/reference.

    results/ is looked for in the current folder and those above it. The reference is also beside the lab's own sources,
    where the latest run may be anybody's. Raises ScenarioError where there is none.
    """
    if path is not None:
        return Path(path)
    here = Path.cwd()
    above = [here, *here.parents]
    for name, folders in ((LATEST, above), (REFERENCE, [*above, Path(__file__).parents[3]])):
        for folder in folders:
            found = folder / RESULTS / name
            if (found / "scenario.json").is_file():
                return found
    raise ScenarioError(
        f"{here}: neither here nor above is a {RESULTS}/{LATEST} or {RESULTS}/{REFERENCE}; give a run folder"
    )
