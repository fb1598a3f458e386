"""What the coordinator asks of the throw-away process that maps a module: one JSON text each way, over pipes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final, Literal

from lab.record.order import BesideOrder, beside_from, mounts_from

MARK: Final = "\x1e"
"""The process writes MARK, a function's name and a newline on stderr before it calls: so a crash has a place."""

Task = Literal["offer", "provision", "inspect", "generate", "destroy"]

SIGN: Final = "sign"
DECRYPT: Final = "decrypt"


@dataclass(frozen=True)
class Request:
    """One task for the throw-away process. It holds PINs, so its repr shows none of them.

    offer      can the slot of the token, or without a label the first slot, do the mechanisms, and make the keys?
               needs no PIN
    provision  initialise the module's free slot as token_label, with both PINs and the keys
    inspect    look, log in once, read the keys; changes nothing
    generate   like inspect, and make the keys that are missing
    destroy    delete the objects with these ids
    """

    task: Task
    module: str
    token_label: str = ""
    pin: str = field(default="", repr=False)
    pin_key: str = "token.pin_env"  # the scenario key that a refused PIN is blamed on
    so_pin: str = field(default="", repr=False)
    initial_so_pin: str | None = field(default=None, repr=False)  # with which it comes; None: C_InitToken sets so_pin
    initialised: bool = False  # provision: there is a token, with its label and the so_pin, and it wants a user PIN
    init_string: str | None = None
    read_write: bool = False  # the session, also where nothing is made or deleted
    keys: Mapping[str, str] = field(default_factory=dict)  # name of a key -> CKA_LABEL
    uses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name -> SIGN, DECRYPT; where absent, SIGN
    mechanisms: tuple[tuple[str, str], ...] = ()  # (key kind or "", mechanism) that must work
    ids: tuple[str, ...] = ()  # CKA_ID in hex: of the keys to delete, or for those to make, in the order of `keys`
    beside: tuple[BesideOrder, ...] = ()  # programs that the token needs meanwhile
    mounts: tuple[tuple[str, str], ...] = ()  # see lab.process.mounts

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Request:
        data = json.loads(text)
        data["mechanisms"] = tuple((key, mechanism) for key, mechanism in data["mechanisms"])
        data["ids"] = tuple(data["ids"])
        data["beside"] = beside_from(data["beside"])
        data["mounts"] = mounts_from(data["mounts"])
        data["uses"] = {name: tuple(uses) for name, uses in data["uses"].items()}
        return Request(**{f.name: data[f.name] for f in fields(Request)})


def uses_of(sign: frozenset[str], decrypt: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """The `uses` of a Request for keys by name; those that only sign need no mention."""
    return {name: (SIGN, DECRYPT) if name in sign else (DECRYPT,) for name in sorted(decrypt)}


class Refused(Exception):
    """The token cannot do what the scenario asks: `key` of the scenario is at fault, and `message` says why."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key
        self.message = message
