"""Signatures of a trial that share a nonce: found among all that verified, and proven by computing the private key.

A signing trial has the signatures of its processes. Of a handshake the client has what anybody has who connects: what
was signed, the signature, and the key in the certificate (lab/native/heard.h). Both are looked at in the same way:
as arrays, because all of a million signatures may repeat. Equal r are told by their last 64 bits, equal data by 64 bits
of them; the proof itself has all bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from numpy.typing import NDArray

from lab.record.columns import RIGHT
from lab.record.dtypes import HEARD, KIND, SIDE
from lab.record.mechanisms import Mechanism
from lab.record.model import NoncesRecord, Signing
from lab.record.proving import Case, prove
from lab.record.row_columns import Verification
from lab.record.rowfile import RowFile, read_outputs
from lab.record.verify import expand

GROUPS_TRIED: Final = 8
"""Groups of one r of which a key is tried: the first does, unless the module repeats r without its nonce."""

_NOBODY: Final = -1
_CURVES: Final[dict[int, ec.EllipticCurve]] = {32: ec.SECP256R1(), 48: ec.SECP384R1()}
_LOW: Final = 8  # bytes


@dataclass(frozen=True)
class Read:
    """One signature with its key, as a proof needs it."""

    public_pem: str
    digest: bytes
    signature: bytes


@dataclass(frozen=True)
class Signatures:
    """Verified signatures in the files of one process, in arrays of one length."""

    r: NDArray[np.uint64]  # the last 64 bits
    data: NDArray[np.uint64]  # of what was signed
    key: NDArray[np.uint64]  # of the public key; 0 where a trial has one only
    process: NDArray[np.int64]  # who signed, or _NOBODY
    at_ns: NDArray[np.int64]
    row: Callable[[int], Any]  # its operation's, by place in these arrays
    read: Callable[[int], Read]  # by place, too


def of_signing(folder: Path, file: RowFile, verified: NDArray[np.int8], check: Verification) -> Signatures | None:
    """The signatures of a process of a signing trial; None where it has none by ECDSA that are right.

    verified: as the process's operations have it, see columns.OPERATIONS.
    """
    outputs = read_outputs(folder / f"outputs-{file.process}.rows")
    length = check.mechanism.signature_bytes
    if check.mechanism.family != "ec" or outputs is None:
        return None
    # one that is shorter than it must be, and right all the same, is not looked at
    signed = (file.rows["kind"] == KIND["sign"]) & (verified == RIGHT) & (file.rows["length"] == length)
    if not signed.any():
        return None
    at, places = np.flatnonzero(signed), file.places[signed]
    inputs = file.rows["input"][at]

    def read(place: int) -> Read:
        data = expand(inputs[place : place + 1], check.mechanism.data_bytes)[0].tobytes()
        return Read(check.public_pem, _digest(check.mechanism, data), outputs[places[place], :length].tobytes())

    return Signatures(
        r=_number(outputs[places, length // 2 - _LOW : length // 2]),
        data=inputs,
        key=np.zeros(len(at), np.uint64),
        process=np.full(len(at), file.process, np.int64),
        at_ns=file.rows["started_ns"][at],
        row=lambda place: file.rows[at[place]],
        read=read,
    )


def of_handshakes(
    folder: Path, file: RowFile, verified: NDArray[np.int8], connections: Mapping[int, RowFile]
) -> Signatures | None:
    """The signatures that the clients of a process got from servers; None where it kept none by ECDSA."""
    outputs = read_outputs(folder / f"outputs-{file.process}.rows")
    if outputs is None or outputs.shape[1] != HEARD.itemsize:
        return None
    kept = (file.rows["kind"] == KIND["handshake"]) & (verified == RIGHT) & (file.rows["length"] == HEARD.itemsize)
    if not kept.any():
        return None
    at, places = np.flatnonzero(kept), file.places[kept]
    heard = np.ascontiguousarray(outputs[places]).view(HEARD)[:, 0]

    def read(place: int) -> Read:
        one = heard[place]
        width = int(one["scalar_bytes"])
        point = one["point"][: one["point_bytes"]].tobytes()
        signature = one["r"][-width:].tobytes() + one["s"][-width:].tobytes()
        return Read(_pem(width, point), one["digest"][: one["digest_bytes"]].tobytes(), signature)

    return Signatures(
        r=_number(heard["r"][:, -_LOW:]),
        data=_number(heard["digest"][:, :_LOW]),
        key=_number(heard["point"][:, 1 : 1 + _LOW]),  # after the byte that says how the point is written
        process=_servers(file, places, connections),
        at_ns=file.rows["started_ns"][at],
        row=lambda place: file.rows[at[place]],
        read=read,
    )


def find(parts: Sequence[Signatures]) -> NoncesRecord | None:
    """What the signatures of all processes of a trial tell; None where there are none.

    Raises LabFault where the proof could not be tried.
    """
    if not parts:
        return None
    r, data, key, process, at_ns = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("r", "data", "key", "process", "at_ns")
    )
    order, starts = _groups(r, data, key, at_ns)
    if not starts.size:
        return NoncesRecord(int(r.size), 0, (), 0, 0, None)
    makers = np.unique(process[order])
    edges = np.cumsum([0, *(part.r.size for part in parts)])

    def located(place: int) -> tuple[Signatures, int]:
        part = int(np.searchsorted(edges, place, "right")) - 1
        return parts[part], place - int(edges[part])

    def signing(place: int) -> Signing:
        part, own = located(place)
        maker = int(part.process[own])
        row = part.row(own)
        return Signing(
            None if maker == _NOBODY else maker,
            int(part.at_ns[own]),
            int(row["thread"]),
            int(row["sequence"]),
            int(row["vhost"]),
        )

    pairs = {
        name: [_pair(group, data, process) for group in chosen]
        for name, chosen in _earliest_of_each_key(order, starts, key, at_ns).items()
    }
    cases = []
    for chosen in pairs.values():
        read = [part.read(own) for part, own in (located(place) for pair in chosen for place in pair)]
        cases.append(Case(read[0].public_pem, tuple((each.digest, each.signature) for each in read)))
    proofs = prove(cases)
    shown = [
        (chosen[proof.pair[0] // 2] if proof.pair else chosen[0], proof.proven)
        for chosen, proof in zip(pairs.values(), proofs, strict=True)
    ]
    first, _ = min(shown, key=lambda each: (not each[1], int(at_ns[list(each[0])].max())))
    return NoncesRecord(
        signatures=int(r.size),
        repeated=int(order.size),
        processes=tuple(makers[makers != _NOBODY].tolist()),
        keys=len(pairs),
        keys_proven=sum(proof.proven for proof in proofs),
        first=(signing(first[0]), signing(first[1])),
    )


def _groups(
    r: NDArray[np.uint64], data: NDArray[np.uint64], key: NDArray[np.uint64], at_ns: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of signatures that share key and r, and sign different data; and where each group of them starts.

    Within a group they are in time.
    """
    none = np.empty(0, np.intp)
    candidates = _twice(r)
    if not candidates.size:
        return none, none
    r, data, key = r[candidates], data[candidates], key[candidates]
    order = np.lexsort((at_ns[candidates], r, key))
    r, data, key = r[order], data[order], key[order]
    starts = np.flatnonzero(np.append(True, (r[1:] != r[:-1]) | (key[1:] != key[:-1])))
    differ = np.minimum.reduceat(data, starts) < np.maximum.reduceat(data, starts)
    sizes = np.diff(np.append(starts, r.size))
    kept = candidates[order][np.repeat(differ, sizes)]
    return kept, np.cumsum(np.append(0, sizes[differ]))[:-1].astype(np.intp)


def _twice(r: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Places of all r that occur more than once."""
    ascending = np.sort(r)
    twice = np.unique(ascending[1:][ascending[1:] == ascending[:-1]])
    if not twice.size:
        return np.empty(0, np.intp)
    place = np.searchsorted(twice, r)
    place[place == twice.size] = 0
    found: NDArray[np.intp] = np.flatnonzero(twice[place] == r)
    return found


def _earliest_of_each_key(
    order: NDArray[np.intp], starts: NDArray[np.intp], key: NDArray[np.uint64], at_ns: NDArray[np.int64]
) -> dict[int, list[NDArray[np.intp]]]:
    """The first groups of each key, in time."""
    ends = np.append(starts[1:], order.size)
    chosen: dict[int, list[NDArray[np.intp]]] = {}
    owner, since = key[order[starts]], at_ns[order[starts]]
    for name in np.unique(owner):
        mine = np.flatnonzero(owner == name)
        earliest = mine[np.argsort(since[mine], kind="stable")[:GROUPS_TRIED]]
        chosen[int(name)] = [order[starts[group] : ends[group]] for group in earliest]
    return chosen


def _pair(group: NDArray[np.intp], data: NDArray[np.uint64], process: NDArray[np.int64]) -> tuple[int, int]:
    """The first signature of a group, and the first of other data; by another process, where there is one."""
    others = group[data[group] != data[group[0]]]
    elsewhere = others[process[others] != process[group[0]]]
    return int(group[0]), int((elsewhere if elsewhere.size else others)[0])


def _servers(file: RowFile, places: NDArray[np.int64], connections: Mapping[int, RowFile]) -> NDArray[np.int64]:
    """The process that answered each handshake: both ends have the ClientHello's random."""
    found = np.full(len(places), _NOBODY, np.int64)
    mine = connections.get(file.process)
    served = [
        (rows["random"], np.full(len(rows), index, np.int64))
        for index, rows in ((i, f.rows[f.rows["side"] == SIDE["server"]]) for i, f in connections.items())
        if len(rows)
    ]
    if mine is None or not len(mine.rows) or not served:
        return found
    random = np.zeros(max(int(mine.places[-1]), int(places.max())) + 1, np.uint64)
    random[mine.places] = mine.rows["random"]
    theirs, owner = (np.concatenate(columns) for columns in zip(*served, strict=True))
    ascending = np.argsort(theirs, kind="stable")
    place = np.searchsorted(theirs[ascending], random[places])
    place[place == theirs.size] = 0
    at = ascending[place]
    known = (theirs[at] == random[places]) & (random[places] != 0)
    found[known] = owner[at[known]]
    return found


def _number(bytes_of: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Eight bytes of each row as one number."""
    return np.ascontiguousarray(bytes_of).view("<u8")[:, 0].astype(np.uint64)


def _digest(mechanism: Mechanism, data: bytes) -> bytes:
    return hashlib.new(mechanism.hash, data).digest() if mechanism.hashed_by_token else data


def _pem(width: int, point: bytes) -> str:
    """A public key from its point as X9.62 writes it. Raises ValueError where it is not on the curve."""
    key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[width], point)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
