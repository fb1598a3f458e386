"""What the tap costs, asked of a process that maps it: the coordinator maps no module, not even the lab's own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from lab import program
from lab.errors import LabFault

TIMEOUT_S: Final = 60.0


def turns(stub: Path, folder: Path, many: int) -> list[tuple[float, float]]:
    """ns of a call directly and through the tap, of each turn. `folder` is made. Raises LabFault."""
    folder.mkdir()
    environment = {"LAB_TAP_MODULE": str(stub), "LAB_TAP_DIR": str(folder), "LAB_TAP_KEY": bytes(range(16)).hex()}
    try:
        done = subprocess.run(
            program.command("lab.calibration.tap_turns", str(stub), str(folder), str(many)),
            env=program.environment() | environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            start_new_session=True,
            check=True,
        )
        found = [
            (float(direct), float(tapped)) for direct, tapped in (line.split() for line in done.stdout.splitlines())
        ]
    except (subprocess.SubprocessError, ValueError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        raise LabFault(f"the cost of the tap could not be measured: {''.join(said)}") from None
    if len(found) < 2:
        raise LabFault("the cost of the tap could not be measured: no turns")
    return found
