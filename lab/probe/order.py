"""What a stage is told. It travels through a pipe, because it carries the PIN."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from lab.record.order import BesideOrder, beside_from, mounts_from


@dataclass(frozen=True)
class StageOrder:
    """One stage on one token."""

    stage: str
    folder: str  # private, for what the stage leaves for the coordinator: stacks
    token: str  # folder with the token's files, as restore() made it
    module: str
    token_label: str
    key_label: str  # "" where there is no key to sign with
    key: str | None  # its kind: ec-p256
    mechanism: int  # CKM number that signs a digest (ECDSA) or a DigestInfo (RSA_PKCS); 0 without a key
    hash: str  # sha256: of the digest
    prefix: str  # hex, of what C_Sign is given before the digest: RSA_PKCS's DigestInfo
    pin: str = field(repr=False)
    init_string: str | None
    patience_s: float  # for one process or call of the stage; what takes longer hangs
    most_sessions: int
    children: int  # of the lines on random numbers
    may_create: bool = True  # session objects; on a token that is somebody else's, nothing is made unasked
    read_write: bool = False  # every session
    beside: tuple[BesideOrder, ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> StageOrder:
        data = json.loads(text)
        return StageOrder(**{**data, "beside": beside_from(data["beside"]), "mounts": mounts_from(data["mounts"])})
