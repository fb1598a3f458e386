"""The same 23 operations, counted by five who do not know of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.calibration import arms
from lab.calibration.check import Check
from lab.record import columns
from lab.record.columns import Table
from lab.record.dtypes import ENDED, KIND, PHASE, SIDE
from lab.record.names import FUNCTION_NUMBER
from lab.record.run import StoredTrial

WAYS = ("client", "server", "operation rows", "call rows", "token")


def signatures(trial: StoredTrial, at_token: int) -> Check:
    """Of signatures the client is who draws up the plan and hands it out, and the server's are those that verify.

    Each worker makes a first signature, before the load, that all but the plan see: it is taken off.
    """
    rows = trial.operations
    first = int((rows["phase"] == PHASE["first"]).sum())
    signed: Any = (rows["kind"] == KIND["sign"]) & (rows["outcome"] == columns.OK)
    return _check(
        "signatures",
        {
            "client": sum(process.planned for process in trial.record.processes),
            "server": int((signed & (rows["verified"] == columns.RIGHT)).sum()) - first,
            "operation rows": int(signed.sum()) - first,
            "call rows": _signing_calls(trial.calls) - first,
            "token": at_token - first,
        },
    )


def handshakes(trial: StoredTrial, at_token: int) -> Check:
    """Of handshakes client and server are the two ends of the connections, each with rows of its own."""
    rows, ends = trial.operations, trial.connections
    ended_well = ends["outcome"] == columns.OK
    done: Any = (rows["kind"] == KIND["handshake"]) & (rows["outcome"] == columns.OK)
    return _check(
        "handshakes",
        {
            "client": int((ended_well & (ends["side"] == SIDE["client"])).sum()),
            "server": int((ended_well & (ends["side"] == SIDE["server"])).sum()),
            "operation rows": int((done & (rows["phase"] == PHASE["measured"])).sum()),
            "call rows": _signing_calls(trial.calls),
            "token": at_token,
        },
    )


def _check(what: str, found: Mapping[str, int]) -> Check:
    """Passes where all five counted 23."""
    told = ", ".join(f"{way} {found[way]}" for way in WAYS)
    right = sum(count == arms.COUNTED for count in found.values())
    return Check(
        "count",
        f"{arms.COUNTED} {what}, five ways",
        f"{right} of {len(WAYS)} say {arms.COUNTED}",
        "all",
        right == len(WAYS),
        right,
        told,
    )


def _signing_calls(calls: Table) -> int:
    signing: Any = (calls["function"] == FUNCTION_NUMBER["C_Sign"]) & (calls["state"] == ENDED) & (calls["ckr"] == 0)
    return int(signing.sum())
