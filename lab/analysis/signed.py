"""The PKCS#11 call that made the signature which a client got, found by what it gave out, whatever its time.

The row of a client and that of the call have the same keyed tag of the signature (lab/native/tags.h). Tags of 64 bits
do not coincide by chance, but a token that repeats a nonce repeats them: one that two clients got, or that two calls of
a process gave, proves nothing, and time has to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lab.analysis.calls import ProcessCalls
from lab.record.columns import Table
from lab.record.names import FUNCTION_NUMBER

UNKNOWN: Final = -1
"""In place of a row: nothing is proven."""
ABROAD: Final = -2
"""In place of a row: the connection that the call was for has no row in its process."""

Places = NDArray[np.intp]


def _numbers(*names: str) -> NDArray[np.bool_]:
    """Whether a function is one of these, by its number."""
    chosen = np.zeros(256, np.bool_)
    chosen[[FUNCTION_NUMBER[name] for name in names]] = True
    return chosen


# Functions that a signature comes out of, and those that lead up to it; C_Login is that of a key that asks each time.
_GIVES: Final = _numbers("C_Sign", "C_SignFinal", "C_SignMessage", "C_SignMessageNext")
_LEADS_UP: Final = _numbers("C_SignInit", "C_SignUpdate", "C_Sign", "C_SignFinal", "C_Login")
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 by the golden ratio: spreads thread ids over all bits


@dataclass(frozen=True)
class Signed:
    """Tags of the signatures that clients got, ascending, each once. client: who got it, or UNKNOWN where two did."""

    tag: NDArray[np.uint64]
    client: Places

    @staticmethod
    def of(tag: NDArray[np.uint64]) -> Signed:
        """tag: of each client, 0 for none."""
        got = np.flatnonzero(tag)
        order = got[np.argsort(tag[got], kind="stable")]
        unique, first, count = np.unique(tag[order], return_index=True, return_counts=True)
        return Signed(unique, np.where(count == 1, order[first], UNKNOWN))

    def find(self, tag: NDArray[np.uint64]) -> Places:
        """For each tag, its place among these, or UNKNOWN."""
        if not self.tag.size:
            return np.full(tag.size, UNKNOWN, np.intp)
        place = np.searchsorted(self.tag, tag)
        place[place == self.tag.size] = 0
        return np.where(self.tag[place] == tag, place, UNKNOWN)


def signatures(calls: ProcessCalls) -> Places:
    """Rows of the calls that gave a signature, ascending."""
    found: Places = np.flatnonzero(_GIVES[calls.function] & (calls.tag != 0))
    return found


def proven(calls: ProcessCalls, signed: Signed, partner: Places, clients: int) -> Places:
    """For each call of a server's process the row of its connection, ABROAD or UNKNOWN.

    partner: the client of each row, or -1 (stories.partners()); clients: how many there are. With a signature go the
    calls that lead up to it.
    """
    own = np.full(len(calls), UNKNOWN, np.intp)
    rows = signatures(calls)
    place = signed.find(calls.tag[rows])
    rows, place = rows[place >= 0], place[place >= 0]
    if not rows.size:
        return own
    once = (np.bincount(place, minlength=signed.tag.size)[place] == 1) & (signed.client[place] != UNKNOWN)
    row_of = np.full(clients, ABROAD, np.intp)
    joined = np.flatnonzero(partner >= 0)
    row_of[partner[joined]] = joined
    own[rows[once]] = row_of[signed.client[place[once]]]
    _lead_up(own, calls)
    return own


def _lead_up(own: Places, calls: ProcessCalls) -> None:
    """Gives a proven signature's row to the calls of its thread and session since the C_SignInit before it."""
    rows = np.flatnonzero(_LEADS_UP[calls.function])
    session, tid = calls.session[rows], calls.tid[rows]
    if session.size and (session.min() != session.max() or tid.min() != tid.max()):
        order = np.lexsort((tid, session))  # which keeps the order in time
        rows, session, tid = rows[order], session[order], tid[order]
    new = calls.function[rows] == FUNCTION_NUMBER["C_SignInit"]
    over = _GIVES[calls.function[rows]] & (calls.tag[rows] != 0)
    new[:1] = True
    new[1:] |= (session[1:] != session[:-1]) | (tid[1:] != tid[:-1]) | over[:-1]
    stretch = np.cumsum(new) - 1
    row = np.full(int(np.count_nonzero(new)), UNKNOWN, np.intp)
    known = own[rows] != UNKNOWN
    row[stretch[known]] = own[rows[known]]  # a stretch ends with its signature, so it has no other
    own[rows] = row[stretch]


def in_this_process(served: Table, tag: NDArray[np.uint64], calls: ProcessCalls) -> NDArray[np.bool_]:
    """For each row of a server's process, whether a call of its process and thread gave the signature of this tag.

    tag: what the row's client got, 0 for none; a row that names no thread takes any.
    """
    rows = signatures(calls)
    given, tid = calls.tag[rows], served["tid"].astype(np.uint64)
    pairs = given + calls.tid[rows].astype(np.uint64) * _MIX
    found = np.isin(tag + tid * _MIX, pairs)
    if not tid.all():
        found |= (tid == 0) & np.isin(tag, given)
    found &= tag != 0
    return found
