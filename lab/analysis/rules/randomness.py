"""unique-randomness: no ECDSA nonce and no random output occurs twice in a trial.

The tap's keyed tag stands for the first half of an ECDSA signature, r, which the nonce determines, and for a random
output. Signatures of other mechanisms have tags too, which say nothing of nonces: RSA's PKCS #1 v1.5 repeats itself.
Two signatures of different data with one nonce give the private key away; the same data signed twice with one nonce
does not (RFC 6979 signs so by design). The tag's key is drawn for each trial, so tags are compared within a trial
only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis.calls import ProcessCalls
from lab.analysis.rules.finding import CONFORMS, NOT_EXERCISED, Finding, violation
from lab.record.names import FUNCTION_NUMBER, function_name

# CKM_ECDSA, _SHA1, _SHA224, _SHA256, _SHA384, _SHA512, _SHA3_224 ... _SHA3_512 (PKCS #11 mechanisms v3.0, 2.3)
_ECDSA: Final = np.arange(0x1041, 0x104B, dtype=np.uint64)
_SHORTEST_RANDOM: Final = 16  # bytes; shorter outputs coincide by chance


@dataclass(frozen=True)
class Outputs:
    """Tagged outputs of one process in time: tags, tags of what was signed (0 for random), evidence by place."""

    tag: NDArray[np.uint64]
    data: NDArray[np.uint64]
    describe: Callable[[int], str]
    at_ns: Callable[[int], int]


@dataclass(frozen=True)
class RandomOutputs:
    """What one process drew from its random number generator, as far as it can be seen."""

    nonces: Outputs
    randoms: Outputs


def collect(calls: ProcessCalls) -> RandomOutputs:
    """The ECDSA signatures and the random outputs of a process."""
    signed = np.sort(np.concatenate([calls.successes("C_Sign"), calls.successes("C_SignFinal")]))
    signed = signed[calls.tag[signed] != 0]
    signed = _by_ecdsa(calls, signed)
    drawn = calls.successes("C_GenerateRandom")
    drawn = drawn[(calls.tag[drawn] != 0) & (calls.argument[drawn] >= _SHORTEST_RANDOM)]
    return RandomOutputs(
        nonces=_outputs(calls, signed, _data(calls, signed)),
        randoms=_outputs(calls, drawn, np.zeros(drawn.size, np.uint64)),
    )


def unique_randomness(processes: Sequence[RandomOutputs]) -> list[Finding]:
    """Over all processes of a trial: nonces and random outputs that occur more than once."""
    return [
        _repeated([each.nonces for each in processes], "signed different data with the same nonce", differ=True),
        _repeated([each.randoms for each in processes], "gave the same random output", differ=False),
    ]


def seen_by_either(users: Finding, owners: Finding) -> Finding:
    """Of those who use a token, and of the programs that own it for them, which see each output once more.

    Each side is judged by itself, or all that a broker hands on would be a repetition.
    """
    return users if users.count or not (owners.count or owners.exercised) else owners


def _outputs(calls: ProcessCalls, rows: NDArray[Any], data: NDArray[np.uint64]) -> Outputs:
    # The closures keep these columns only: `calls` would keep the whole process in memory.
    tid, started, origin = calls.tid[rows], calls.started_ns[rows], calls.origin
    who = f"process {calls.index} (pid {calls.pid})"
    function = calls.function[rows]

    def describe(place: int) -> str:
        name = function_name(int(function[place]))
        return f"{who}, thread {int(tid[place])}: {name} {origin.when(int(started[place]))}"

    def at_ns(place: int) -> int:
        return int(started[place])

    return Outputs(calls.tag[rows], data, describe, at_ns)


def _data(calls: ProcessCalls, signed: NDArray[Any]) -> NDArray[np.uint64]:
    """Tags of what was signed: C_Sign's own, and for C_SignFinal those of the session's C_SignUpdates, added up."""
    data: NDArray[np.uint64] = calls.argument[signed]
    final = np.flatnonzero(calls.function[signed] == FUNCTION_NUMBER["C_SignFinal"])
    if not final.size:
        return data
    inits, parts = calls.successes("C_SignInit"), calls.successes("C_SignUpdate")
    rows = np.concatenate([inits, parts, signed[final]])
    order = np.lexsort((rows, calls.session[rows]))
    tag = np.where(calls.function[rows] == FUNCTION_NUMBER["C_SignUpdate"], calls.tag[rows], 0)
    until = np.cumsum(tag[order], dtype=np.uint64)  # modulo 2^64, as are differences
    latest = np.maximum.accumulate(np.where(order < inits.size, np.arange(order.size), 0))
    of_final = np.flatnonzero(order >= inits.size + parts.size)
    data = data.copy()
    data[final[order[of_final] - inits.size - parts.size]] = until[of_final] - until[latest[of_final]]
    return data


def _by_ecdsa(calls: ProcessCalls, signed: NDArray[Any]) -> NDArray[Any]:
    """Those rows whose session's latest C_SignInit before them named an ECDSA mechanism."""
    inits = calls.successes("C_SignInit")
    if not inits.size or not signed.size:
        return signed[:0]
    mechanism = calls.argument[inits]
    if bool((mechanism == mechanism[0]).all()):
        return signed if mechanism[0] in _ECDSA else signed[:0]
    rows = np.concatenate([inits, signed])
    order = np.lexsort((rows, calls.session[rows]))
    is_init = order < inits.size
    latest = np.maximum.accumulate(np.where(is_init, np.arange(order.size), -1))
    session = calls.session[rows][order]
    known = (latest >= 0) & (session[latest] == session)
    of_init = np.where(known, order[latest], 0)
    ecdsa = known & np.isin(mechanism[np.minimum(of_init, inits.size - 1)], _ECDSA)
    return np.sort(rows[order[~is_init & ecdsa]])


def _repeated(parts: list[Outputs], what: str, differ: bool) -> Finding:
    """Finds tags that occur twice; with `differ`, only those where the signed data differ."""
    sizes = [part.tag.size for part in parts]
    if not sum(sizes):
        return NOT_EXERCISED
    tags = np.concatenate([part.tag for part in parts])
    ascending = np.sort(tags)
    twice = np.unique(ascending[1:][ascending[1:] == ascending[:-1]])
    del ascending
    if not twice.size:
        return CONFORMS
    place = np.searchsorted(twice, tags)
    place[place == twice.size] = 0
    candidates = np.flatnonzero(twice[place] == tags)
    group = place[candidates]
    if differ:
        data = np.concatenate([part.data for part in parts])[candidates]
        low = np.full(twice.size, np.iinfo(np.uint64).max, np.uint64)
        high = np.zeros(twice.size, np.uint64)
        np.minimum.at(low, group, data)
        np.maximum.at(high, group, data)
        candidates = candidates[(low < high)[group]]
    if not candidates.size:
        return CONFORMS
    owner = np.searchsorted(np.cumsum(sizes), candidates, side="right")
    offsets = np.cumsum([0, *sizes])
    first = candidates[0]
    partner = _partner(tags, candidates, int(first), parts, differ)
    describe = [
        parts[int(part)].describe(int(row - offsets[part]))
        for row, part in ((first, owner[0]), (partner, np.searchsorted(np.cumsum(sizes), partner, side="right")))
    ]
    affected = np.unique(owner).size
    evidence = f"{describe[0]} and {describe[1]} {what}; {affected} of {sum(map(bool, sizes))} processes are affected"
    at_ns = parts[int(owner[0])].at_ns(int(first - offsets[owner[0]]))
    return violation(int(candidates.size), at_ns, evidence, processes=int(affected))


def _partner(tags: NDArray[np.uint64], candidates: NDArray[Any], first: int, parts: list[Outputs], differ: bool) -> int:
    """Another output with the tag of `first`, of other data where these must differ."""
    same = candidates[(tags[candidates] == tags[first]) & (candidates != first)]
    if differ:
        data = np.concatenate([part.data for part in parts])
        same = same[data[same] != data[first]]
    return int(same[0])
