"""The context policy `broker`: a token's module in one process, which others reach through p11-kit's client module.

The owner is the lab's own (lab/native/broker.c): `p11-kit server` has a process, a context and a login for each of its
clients, so it is no one owner (docs/decisions.md).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from lab.native import broker, library
from lab.record.order import BesideOrder
from lab.tokens.model import TokenAccess
from lab.tokens.p11kit import CLIENT, owner_environment, reached_at

_NEW: Final = ".new"  # what the broker adds to the name until it listens


def behind_broker(access: TokenAccess, folder: Path) -> TokenAccess:
    """The same token, owned by one process beside the trial, whose socket is in `folder` (there is one, mode 0700).

    What the token needed beside it is started before the owner, and mounts are the whole trial's. The owner's calls are
    recorded as everybody's: its module is the tap. Raises ScenarioError where p11-kit's client module is missing.
    """
    socket = folder.absolute() / "broker"
    owner = BesideOrder(
        command=(str(broker()), str(socket), str(library("tap"))),
        environment=owner_environment(access),
        user=None,
        ready=str(socket),
        owner=True,
    )
    return replace(
        access,
        module=CLIENT.path("context.policy: broker"),
        environment=reached_at(socket, _NEW),
        init_string=None,
        beside=(*access.beside, owner),
    )
